"""Names of what registries keep, and where it is asked for. For the sources oci and ollama, and for pushes.

A mirror takes the place of every registry, as containerd's do: the path of its URL comes before the
repository (``{registry}`` in it stands for the registry's host), and ``ns=REGISTRY`` says whose is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from slipway_runtime.docker_config import HUB, hub_name
from slipway_runtime.errors import RequestError
from slipway_runtime.job import Job
from slipway_runtime.log import plain
from slipway_runtime.pinning import PREFIX

REGISTRY = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
NAME = r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*"
REPOSITORY = rf"{NAME}(?:/{NAME})*"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""The distribution specification's own rule."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
REFERENCE = re.compile(
    rf"(?:(?P<registry>{REGISTRY})/)(?P<repository>{REPOSITORY})"
    rf"(?::(?P<tag>{TAG.pattern}))?(?:@(?P<digest>{DIGEST.pattern}))?"
)
ANY_REVISION = "main"
"""What a job asks for that names no revision."""
LATEST = "latest"


@dataclass(frozen=True)
class Reference:
    """An image or artifact; tag and digest are empty where the name says none."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def asked(self, revision: str) -> str:
        """Return what to ask for: the pin, else the name's digest, its tag, the revision as a tag, latest.

        Raises:
            RequestError: RevisionNotFound, the revision is no tag, or the name has another.
        """
        if revision == ANY_REVISION:
            return self.digest or self.tag or LATEST
        if revision.startswith(PREFIX) and self.digest in ("", revision):
            return revision
        if not TAG.fullmatch(revision) or self.digest or self.tag not in ("", revision):
            raise RequestError(
                "RevisionNotFound",
                f"revision {revision!r} does not fit {self.name}:{self.tag}@{self.digest}: name a tag or a "
                "sha256 digest once, in the source or in spec.model.revision",
            )
        return revision


@dataclass(frozen=True)
class Place:
    """Where a repository is asked for.

    Attributes:
        url: of the server, without a path.
        repository: its name there.
        namespace: the registry that a mirror stands for; empty for the registry itself.
    """

    url: str
    repository: str
    namespace: str = ""

    @property
    def host(self) -> str:
        """The server's host, with its port if it has one."""
        return urlsplit(self.url).netloc


def parse_reference(text: str, example: str) -> Reference:
    """Return what ``REGISTRY/REPOSITORY[:TAG][@sha256:HEX]`` names; RequestError when it is none."""
    match = REFERENCE.fullmatch(text)
    if match is None:
        form = "REGISTRY/REPOSITORY[:TAG][@sha256:HEX]"
        raise RequestError(
            "UnknownScheme", f"{plain(text)!r} is no address of the form {form}, as in {example}"
        )
    parts = {key: value or "" for key, value in match.groupdict().items()}
    if hub_name(parts["registry"]) == HUB and "/" not in parts["repository"]:
        parts["repository"] = f"library/{parts['repository']}"
    return Reference(**parts)


def place_of(reference: Reference, endpoint: str) -> Place:
    """Return where to ask: the registry by HTTPS (by HTTP on this machine), or the mirror at ``endpoint``."""
    if not endpoint:
        host = "registry-1.docker.io" if hub_name(reference.registry) == HUB else reference.registry
        return Place(f"{'http' if is_loopback(host) else 'https'}://{host}", reference.repository)
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc or "@" in parts.netloc:
        raise RequestError(
            "MissingInput", f"{endpoint!r} is no URL of a registry, such as https://mirror.example.com"
        )
    prefix = parts.path.strip("/").replace("{registry}", reference.registry)
    repository = f"{prefix}/{reference.repository}".lstrip("/")
    return Place(f"{parts.scheme}://{parts.netloc}", repository, reference.registry)


def kept_place(job: Job, reference: Reference) -> Place:
    """Return where an artifact of ours is asked for: at SLIPWAY_ENDPOINT_PUSH, else the registry itself.

    The endpoint is the registry by another address, no mirror: it is not told which registry is meant.
    """
    return replace(place_of(reference, job.endpoint_of("push")), namespace="")


def is_loopback(host: str) -> bool:
    """Whether a host, with or without port, is this machine: nobody listens in between."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
