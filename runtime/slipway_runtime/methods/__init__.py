"""How a model is made smaller: one file a method, found by being in this folder. Called by stage.py.

The operator reads this catalogue too, so heavy imports sit inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

from slipway_runtime.errors import RequestError
from slipway_runtime.job import Job

GGUF: Final = "gguf"
SAFETENSORS: Final = "safetensors"


class Method(Protocol):
    """What a module of this folder offers, beside a function for each stage, ``STAGE(job) -> result``.

    Attributes:
        NAME: of ``spec.optimize.method``, or of the step that the spec asks for otherwise.
        LEVELS: what it can make, the usual one first.
        STAGE: name of the stage that makes it, and of its function; gguf has convert for 16 bits beside.
        FORM: what it leaves: ``gguf``, one file; ``safetensors``, a folder in Hugging Face's layout;
            ``data``, no model, so that nothing of it is evaluated.
        IMAGE: that its stage runs in: ``runtime``, or ``optimizer``, which has PyTorch's tools.
        GPU: its stage is worth a GPU where there is one.
    """

    NAME: str
    LEVELS: tuple[str, ...]
    STAGE: str
    FORM: str
    IMAGE: str
    GPU: bool


@cache
def methods() -> Mapping[str, Method]:
    """Return the known methods by name."""
    names = (module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    modules = [cast("Method", import_module(f"{__name__}.{name}")) for name in names]
    return MappingProxyType({method.NAME: method for method in modules})


def run(job: Job) -> dict[str, Any]:
    """Run the job's stage of the job's method; RequestError for a level or a stage that it doesn't have."""
    method = methods().get(job.method)
    if method is None:
        raise RequestError("UnknownMethod", f"no method {job.method!r}; known are {', '.join(methods())}")
    if job.stage != "convert" and job.level not in method.LEVELS:
        levels = ", ".join(method.LEVELS)
        raise RequestError(
            "UnknownLevel", f"{method.NAME} has no level {job.level or '(none)'}; it has {levels}"
        )
    stage: Callable[[Job], dict[str, Any]] | None = getattr(method, job.stage, None)
    if stage is None:
        raise RequestError("UnknownMethod", f"method {method.NAME} has no stage {job.stage}")
    return stage(job)
