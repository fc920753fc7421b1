"""Where finished artifacts are copied to beside their claim: one file a URI scheme. For the stage publish.

A store's module, found by being in this folder, has ``push(job, folder, target) -> result`` for a target
without its scheme; its heavy imports sit inside functions.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from slipway_runtime.certificates import trust
from slipway_runtime.errors import RequestError
from slipway_runtime.job import Job

VARIABLE = "SLIPWAY_PUSH_TO"
SCHEMES: tuple[str, ...] = tuple(sorted(module.name for module in iter_modules(__path__)))


class Store(Protocol):
    """What a module of this folder offers."""

    def push(self, job: Job, folder: Path, target: str) -> dict[str, Any]:
        """Copy a published folder to the target, unless it is there; what to add to the stage's result."""


def push_published(job: Job) -> dict[str, Any]:
    """Copy the published artifact to where SLIPWAY_PUSH_TO says; nothing without it.

    Raises:
        RequestError: UnknownScheme.
    """
    uri = job.environment.get(VARIABLE, "")
    if not uri:
        return {}
    scheme, separator, target = uri.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        raise RequestError("UnknownScheme", f"no store for {VARIABLE}={uri!r}; known are: {known}")
    trust(job.environment)
    store = cast("Store", import_module(f"{__name__}.{scheme}"))
    return store.push(job, job.published, target)
