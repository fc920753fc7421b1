"""What Jobs that read a source are given: where it is, and what opens it. Called by jobs and network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.sources import claim_of, scheme_of
from slipway.manifests import pod
from slipway.plan.companions import wanted
from slipway.settings import Settings
from slipway_runtime import contract

CA_PATH: Final = "/etc/slipway-ca"
CREDENTIALS: Final = contract.TOKEN_FILE.rsplit("/", 1)[0]
VARIABLES: Final = {
    "hf": "HF_ENDPOINT",
    **{one: f"SLIPWAY_ENDPOINT_{one.upper()}" for one in ("modelscope", "s3", "oci", "https", "ollama")},
}
"""Scheme to what tells Jobs of its endpoint; a claim has none."""


def endpoints(settings: Settings) -> dict[str, str]:
    """Scheme to the URL that stands for its public service: its own value, else its folder of the mirror."""
    own = {"hf": settings.hub_endpoint, **dict(settings.sources.endpoints)}
    mirror = settings.sources.mirror.rstrip("/")
    found = {one: own.get(one) or (mirror and f"{mirror}/{one}") for one in VARIABLES}
    return {one: url for one, url in found.items() if url}


def allowed_hosts(settings: Settings) -> tuple[str, ...]:
    """Hosts that Jobs may ask: those of the list and of every endpoint; empty for all.

    With a mirror there is always a list, so that nothing else is asked.
    """
    listed = settings.sources.allowed_hosts
    if not listed and not settings.sources.mirror:
        return ()
    named = (urlsplit(url).hostname or "" for url in endpoints(settings).values())
    return tuple(dict.fromkeys((*listed, *(one for one in named if one))))


def is_own(kept: str, settings: Settings) -> bool:
    """Whether the installation names the registry of a URI, so that its endpoint stands for it.

    A registry that only a model names is asked by its own name: its credential goes to nobody else.
    """
    named = (urlsplit(f"//{settings.store_repository}").netloc, urlsplit(settings.store_endpoint).netloc)
    return urlsplit(kept).netloc.lower() in {one.lower() for one in named if one}


def store_urls(kept: str, settings: Settings) -> tuple[str, ...]:
    """Where what is kept at a URI is asked for, if the installation names its registry; else empty."""
    if not is_own(kept, settings):
        return ()
    registry = urlsplit(kept).netloc
    return (settings.store_endpoint,) if settings.store_endpoint else (f"https://{registry}",)


def environment(settings: Settings, kept: str = "") -> dict[str, str]:
    """Endpoints, the list of hosts, proxy and CA.

    ``kept`` is a URI that recall, push and copies of an artifact ask: the installation's own registry needs
    no place on the list of hosts, one that only a model names does.
    """
    env = dict(settings.job_env)
    env |= {VARIABLES[scheme]: url for scheme, url in endpoints(settings).items()}
    if settings.sources.s3_region:
        env["SLIPWAY_S3_REGION"] = settings.sources.s3_region
    urls = store_urls(kept, settings)
    if settings.store_endpoint in urls:
        env["SLIPWAY_ENDPOINT_PUSH"] = settings.store_endpoint
    if hosts := allowed_hosts(settings):
        # A registry may send who logs in to its own name, wherever it is reached.
        own = (urlsplit(url).hostname or "" for url in (kept, *urls)) if urls else ()
        env["SLIPWAY_ALLOWED_HOSTS"] = ",".join(dict.fromkeys((*hosts, *own)))
    if settings.ca_config_map:
        env["SLIPWAY_CA_FILE"] = f"{CA_PATH}/ca.crt"
    return env


def trusted_code(trusts: bool) -> dict[str, str]:
    """Environment of a Job that may take the repository's own Python files."""
    return {"SLIPWAY_TRUST_REMOTE_CODE": "true"} if trusts else {}


def sources_of(spec: ModelDeploymentSpec) -> tuple[str, ...]:
    """The source of the model, and those of what is beside it."""
    return (spec.model.source, *(one.source for one in wanted(spec)))


def schemes_of(uris: Iterable[str]) -> frozenset[str]:
    """Schemes that are asked over the network: a claim is mounted."""
    return frozenset(scheme_of(uri) for uri in uris if not claim_of(uri))


def credentials(volume: str, secret: str) -> dict[str, Any]:
    """A Secret's keys as files; optional: a stage says what it lacks, instead of a pod that never starts."""
    items = [{"key": key, "path": key} for key in contract.CREDENTIAL_KEYS]
    mounted = {"secretName": secret, "items": items, "defaultMode": 0o440, "optional": True}
    return {"name": volume, "secret": mounted}


def volumes(
    uri: str, secret: str | None, settings: Settings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and their mounts: the source's own claim, credential, CA."""
    found, mounts = [], []
    if claim := claim_of(uri):
        found.append(pod.claim_volume("origin", claim, read_only=True))
        mounts.append(pod.mount("origin", contract.ORIGIN, read_only=True))
    if secret:
        found.append(credentials("credentials", secret))
        mounts.append(pod.mount("credentials", CREDENTIALS, read_only=True))
    if settings.ca_config_map:
        found.append({"name": "ca", "configMap": {"name": settings.ca_config_map}})
        mounts.append(pod.mount("ca", CA_PATH, read_only=True))
    return found, mounts
