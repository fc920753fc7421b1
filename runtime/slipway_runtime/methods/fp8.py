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
    return compress(job, Kind(recipe, ("kvCache", *CALIBRATION) if job.level == "FP8_STATIC" else ()))


def recipe(asked: Asked) -> Recipe:
    """FP8 has a scale for each channel, and for each token while it is served.

    FP8_STATIC has one for each tensor; those of activations are calibrated, and with ``kvCache`` those of
    keys and values.
    """
    if asked.level == "FP8":
        return Recipe((("QuantizationModifier", quantised("FP8_DYNAMIC")),), calibrates=False)
    cache = asked.choice("kvCache", ("none", "fp8"), "none") == "fp8"
    more = {"kv_cache_scheme": {**FP8, "strategy": "tensor"}} if cache else {}
    return Recipe((("QuantizationModifier", quantised("FP8", **more)),), calibrates=True)
