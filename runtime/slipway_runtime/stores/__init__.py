"""Where finished artifacts are kept beside their claim: one file a URI scheme, found by being in this folder.

The stages recall and push. A store's module has the functions of ``Store`` for a target without its scheme;
its heavy imports sit inside functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from slipway_runtime.certificates import trust
from slipway_runtime.errors import RequestError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER

VARIABLE = "SLIPWAY_PUSH_TO"
QUALITY = "SLIPWAY_QUALITY"
SCHEMES: tuple[str, ...] = tuple(sorted(module.name for module in iter_modules(__path__)))


class Store(Protocol):
    """What a module of this folder offers."""

    def push(self, job: Job, folder: Path, target: str, beside: Mapping[str, Any]) -> dict[str, Any]:
        """Copy a published folder to the target, unless it is there; what to add to the stage's result.

        ``beside`` is kept with it, and given back by ``recall``.
        """

    def recall(self, job: Job, target: str) -> dict[str, Any] | None:
        """What lies at the target: where, its digest, size, and what was kept beside; None for nothing."""


def push(job: Job) -> dict[str, Any]:
    """Copy the published artifact to where SLIPWAY_PUSH_TO says.

    Returns:
        ``{"image", "pushedBytes"}``: no bytes for one that was there.

    Raises:
        RequestError: UnknownScheme.
    """
    store, target = _store(job)
    quality = job.environment.get(QUALITY)
    return store.push(job, job.published, target, {"quality": json.loads(quality)} if quality else {})


def recall(job: Job) -> dict[str, Any]:
    """Look for the artifact where SLIPWAY_PUSH_TO says.

    Returns:
        ``{"found": False}``, or ``{"found": True, "image", "digest", "sizeBytes", "files"}`` and, where it
        was measured, ``"quality"`` as the artifact's status had it.

    Raises:
        RequestError: UnknownScheme.
    """
    store, target = _store(job)
    found = store.recall(job, target)
    if found is None:
        LOGGER.info("nothing is kept at %s", target)
        return {"found": False}
    LOGGER.info("%s is kept already: %s", target, found["image"])
    return {"found": True, **found}


def _store(job: Job) -> tuple[Store, str]:
    uri = job.require(VARIABLE)
    scheme, separator, target = uri.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        raise RequestError("UnknownScheme", f"no store for {VARIABLE}={uri!r}; known are: {known}")
    trust(job.environment)
    return cast("Store", import_module(f"{__name__}.{scheme}")), target
