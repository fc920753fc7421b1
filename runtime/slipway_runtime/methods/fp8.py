"""FP8 (E4M3): weights and activations of 8 bits that float, with or without calibrated scales."""

from __future__ import annotations

from typing import Any

from slipway_runtime.job import Job
from slipway_runtime.methods._compressed import Kind, compress
from slipway_runtime.methods._recipes import CALIBRATION, FP8, Asked, Recipe, quantised

NAME = "fp8"
LEVELS = ("FP8", "FP8_STATIC")
STAGE = "quantize"
FORM = "safetensors"
IMAGE = "optimizer"
GPU = False


def quantize(job: Job) -> dict[str, Any]:
    """Turn ``/parent/published`` into ``/store/work/model``; see ``_compressed.compress``."""
    calibrates = job.level == "FP8_STATIC" or "kvCache" in job.options()
    return compress(job, Kind(recipe, ("kvCache", *CALIBRATION) if calibrates else ("kvCache",)))


def recipe(asked: Asked) -> Recipe:
    """FP8: a scale for each channel, and for each token while it is served; FP8_STATIC: one for each tensor,
    those of activations calibrated. ``kvCache`` calibrates scales of keys and values beside.
    """
    cache = asked.choice("kvCache", ("none", "fp8"), "none") == "fp8"
    static = asked.level == "FP8_STATIC"
    more = {"kv_cache_scheme": {**FP8, "strategy": "tensor"}} if cache else {}
    arguments = quantised("FP8" if static else "FP8_DYNAMIC", **more)
    return Recipe((("QuantizationModifier", arguments),), calibrates=static or cache)
