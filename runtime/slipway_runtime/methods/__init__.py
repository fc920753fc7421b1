"""How a model is made smaller: one file a method, found by being in this folder. Called by stage.py.

A method module has ``NAME``, ``LEVELS``, ``convert(job)`` and ``quantize(job)``. Its heavy imports sit inside
functions, so that the operator may read this catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Protocol, cast

from slipway_runtime.errors import RequestError
from slipway_runtime.job import Job


class Method(Protocol):
    """What a module of this folder offers."""

    NAME: str
    LEVELS: tuple[str, ...]

    def convert(self, job: Job) -> dict[str, Any]:
        """Turn the parent's fetched files into the method's full-precision form."""

    def quantize(self, job: Job) -> dict[str, Any]:
        """Bring the parent's full-precision form to the job's level."""


@cache
def methods() -> Mapping[str, Method]:
    """Return the known methods by name."""
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    return MappingProxyType(
        {method.NAME: method for method in (cast("Method", module) for module in modules)}
    )


def convert(job: Job) -> dict[str, Any]:
    """Run the stage convert of the job's method."""
    return _find(job).convert(job)


def quantize(job: Job) -> dict[str, Any]:
    """Run the stage quantize of the job's method; RequestError for a level that it doesn't have."""
    method = _find(job)
    if job.level not in method.LEVELS:
        levels = ", ".join(method.LEVELS)
        raise RequestError(
            "UnknownLevel", f"{method.NAME} has no level {job.level or '(none)'}; it has {levels}"
        )
    return method.quantize(job)


def _find(job: Job) -> Method:
    method = methods().get(job.method)
    if method is None:
        raise RequestError("UnknownMethod", f"no method {job.method!r}; known are {', '.join(methods())}")
    return method
