"""Whether an engine can serve a method on a device at all, whatever the memory. Pure; for on_gpu, on_cpu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slipway.plan.candidate import Kind, Request
from slipway.plan.facts import CPU, EngineFacts, Loads
from slipway.plan.gpus import compute_of, has_fp8
from slipway.plan.methods import METHODS, level_of

UNASKED: Final = "not asked for"
"""Why a method is no candidate that is not worth a word."""
BY_NAME: Final = ("mxfp4", "nvfp4")
"""Methods that are chosen only when they are named: few devices compute in them, few figures are known."""


@dataclass(frozen=True)
class Way:
    """One engine with one method on one kind of device; ``kind`` is None for CPU."""

    request: Request
    engine: EngineFacts
    loads: Loads
    kind: Kind | None = None

    @property
    def level(self) -> str:
        """What would be served, of a method other than none and gguf."""
        return level_of(self.loads.method, "", self.request.wishes.level)

    @property
    def comes(self) -> bool:
        """The model is quantised so already."""
        return self.request.facts.quantization == self.loads.method

    @property
    def at_load(self) -> bool:
        """The engine makes it of 16-bit weights while it loads: the method's usual level alone."""
        return self.loads.at_load and not self.comes and self.level == METHODS[self.loads.method].level

    @property
    def made(self) -> bool:
        """A Job makes it."""
        return not (self.comes or self.at_load or self.loads.method in ("none", "gguf"))

    @property
    def vendor(self) -> str:
        """Key of what an engine's file says of accelerators."""
        return self.kind.gpu.vendor if self.kind else CPU


def unmakeable(way: Way) -> str:
    """Why no Job makes what this engine would load; empty when one does, or none is needed."""
    if not way.made:
        return ""
    method, engine = way.loads.method, way.engine
    if method not in way.request.makes:
        return f"no Job of this version makes {method}; name a repository that is quantised so already"
    if way.level not in engine.reads.get(way.vendor, ()):
        return (
            f"Jobs write {way.level} as compressed-tensors, which {engine.name} does not read here; "
            f"name a repository with {method} in its own format, or another engine"
        )
    if way.request.facts.modality != "text":
        return (
            f"Jobs make {method} of models for text alone, and this one is for {way.request.facts.modality}"
        )
    return ""


def refused(way: Way, kind: Kind) -> str:  # noqa: PLR0911 - a list of reasons
    """Why this engine can't serve this method on these devices; ``UNASKED`` is not worth a word."""
    wishes, method, gpu, engine = way.request.wishes, way.loads.method, kind.gpu, way.engine
    f16 = method == "gguf" and wishes.method == "none" and wishes.engine == engine.name
    if wishes.method not in ("", method) and not f16:
        return UNASKED
    if not way.comes and (method == "compressed-tensors" or (method in BY_NAME and not wishes.method)):
        return UNASKED
    if not wishes.method and method == "bnb" and gpu.vendor != "nvidia":
        return UNASKED
    if kind.architecture not in engine.architectures.get(gpu.vendor, frozenset()):
        return f"no image of {engine.name} for {gpu.vendor} on {kind.architecture}"
    if way.request.facts.modality not in engine.modalities:
        return f"{engine.name} serves no {way.request.facts.modality} models"
    if wishes.kv_dtype and f"kv-cache-{wishes.kv_dtype}" not in engine.capabilities:
        return f"{engine.name} has no KV cache of type {wishes.kv_dtype}"
    if method == "fp8" and not has_fp8(gpu):
        return "the device has no FP8 units"
    if gpu.vendor == "nvidia" and compute_of(gpu) < way.loads.compute:
        return f"needs compute capability {way.loads.compute}, this device has {compute_of(gpu):g}"
    return unmakeable(way)
