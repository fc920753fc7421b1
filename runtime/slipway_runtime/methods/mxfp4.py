"""MXFP4: floats of 4 bits with an 8-bit exponent for 32 of them, weights and activations or weights alone."""

from __future__ import annotations

from typing import Any

from slipway_runtime.job import Job
from slipway_runtime.methods._compressed import Kind, compress
from slipway_runtime.methods._recipes import Asked, Recipe, quantised

NAME = "mxfp4"
LEVELS = ("MXFP4", "MXFP4A16")
STAGE = "quantize"
FORM = "safetensors"
IMAGE = "optimizer"
GPU = False


def quantize(job: Job) -> dict[str, Any]:
    """Turn ``/parent/published`` into ``/store/work/model``; see ``_compressed.compress``."""
    return compress(job, Kind(recipe, (), group=32))


def recipe(asked: Asked) -> Recipe:
    """Exponents are those of the largest weight of a group; nothing is calibrated."""
    return Recipe((("QuantizationModifier", quantised(asked.level)),), calibrates=False)
