"""A Secret of type kubernetes.io/dockerconfigjson: who logs in where. For registries, and for what logs hide.

``{"auths": {"registry.example.com/team": {"username", "password"} or {"auth": base64 of "user:password"}}}``,
as kubectl and docker login write it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

KEY = ".dockerconfigjson"
HUB = "docker.io"
HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
"""Names under which Docker's own tools keep and ask one registry."""
HIDDEN = ("auth", "password", "identitytoken", "registrytoken")
"""Keys of an entry that are secret."""
SAYING = ("username", *HIDDEN)
"""Keys of which an entry has one or more, unless it stands for nobody."""


@dataclass(frozen=True)
class Credential:
    """Who logs in to a registry."""

    username: str
    password: str

    @property
    def basic(self) -> str:
        """What HTTP's Basic scheme sends: base64 of ``user:password``."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def hub_name(host: str) -> str:
    """Return the host as hosts are compared, in lower case; docker.io for all of Docker Hub's."""
    return HUB if host.lower() in HUB_HOSTS else host.lower()


def find_credential(text: str, host: str, repository: str) -> Credential | None:
    """Return the entry for a host with its port and a repository; the longest path that matches, as kubelet.

    None where there is none, or an empty one: it is for nobody in particular.

    Raises:
        ValueError: the text is no such configuration.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, entry in _entries(text).items():
        place = key.removeprefix("https://").removeprefix("http://").rstrip("/")
        entry_host, _, path = place.partition("/")
        path = "" if path in {"v1", "v2"} else path
        if hub_name(entry_host) == hub_name(host) and f"{repository}/".startswith(f"{path}/" if path else ""):
            found[path] = entry
    best = found[max(found, key=len)] if found else {}
    return _credential(best) if any(best.get(key) for key in SAYING) else None


def hidden(text: str) -> set[str]:
    """Return everything in the configuration that no log may show; of a broken one the text alone."""
    secrets = {text}
    try:
        entries = _entries(text)
    except ValueError:
        return secrets
    for entry in entries.values():
        secrets |= {str(entry[key]) for key in HIDDEN if key in entry}
        try:
            credential = _credential(entry)
        except ValueError:
            continue
        secrets |= {credential.password, credential.basic}
    return secrets - {""}


def _entries(text: str) -> dict[str, dict[str, Any]]:
    document = json.loads(text)
    entries = document.get("auths") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(one, dict) for one in entries.values()):
        raise ValueError('it has no map "auths" of entries')
    return entries


def _credential(entry: dict[str, Any]) -> Credential:
    if entry.get("username") and "password" in entry:
        return Credential(str(entry["username"]), str(entry["password"]))
    try:
        words = base64.b64decode(str(entry.get("auth", "")), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError('an entry has an "auth" that is no base64') from error
    username, colon, password = words.partition(":")
    if not colon:
        raise ValueError('an entry has neither username and password nor "auth"')
    return Credential(username, password.rstrip("\0"))
