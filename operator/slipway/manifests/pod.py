"""What every pod of ours has: PSS restricted, no token, little to write to. Called by deployment, jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slipway.settings import Settings

USER = 65532
"""Numeric user of our images ("nonroot")."""


def pod_security(settings: Settings) -> dict[str, Any]:
    """Security context of a pod: user and the volumes' group, or neither where the cluster gives them.

    The user is named so that an image of one's own, whose USER may be root or a name, is admitted too.
    """
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.fs_group is not None:
        # Walking through a large volume on every start would cost minutes.
        context |= {
            "runAsUser": USER,
            "fsGroup": settings.fs_group,
            "fsGroupChangePolicy": "OnRootMismatch",
        }
    return context


def container_security() -> dict[str, Any]:
    """Security context of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod_basics(settings: Settings) -> dict[str, Any]:
    """Fields of a pod's spec that never differ."""
    basics: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(settings),
    }
    if settings.images.pull_secrets:
        basics["imagePullSecrets"] = [{"name": name} for name in settings.images.pull_secrets]
    return basics


def env_list(env: Mapping[str, str]) -> list[dict[str, str]]:
    """Environment in the shape of a container; ``$`` is doubled, since Kubernetes expands ``$(NAME)``."""
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in env.items()]


def literal(arguments: Iterable[str]) -> list[str]:
    """Commands and arguments that Kubernetes must not expand."""
    return [argument.replace("$", "$$") for argument in arguments]


def scratch(name: str, size_limit: str, medium: str = "") -> dict[str, Any]:
    """An emptyDir volume with a limit."""
    empty: dict[str, Any] = {"sizeLimit": size_limit}
    return {"name": name, "emptyDir": {"medium": medium, **empty} if medium else empty}


def claim_volume(name: str, claim: str, *, read_only: bool = False) -> dict[str, Any]:
    """A volume of a PersistentVolumeClaim."""
    source: dict[str, Any] = {"claimName": claim}
    if read_only:
        source["readOnly"] = True
    return {"name": name, "persistentVolumeClaim": source}


def mount(name: str, path: str, *, read_only: bool = False, sub_path: str = "") -> dict[str, Any]:
    """A volume mount."""
    mounted: dict[str, Any] = {"name": name, "mountPath": path}
    if read_only:
        mounted["readOnly"] = True
    if sub_path:
        mounted["subPath"] = sub_path
    return mounted
