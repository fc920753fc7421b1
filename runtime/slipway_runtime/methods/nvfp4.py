"""NVFP4: floats of 4 bits with an FP8 scale for 16 of them, weights and activations or weights alone."""

from __future__ import annotations

from typing import Any

from slipway_runtime.job import Job
from slipway_runtime.methods._compressed import Kind, compress
from slipway_runtime.methods._recipes import CALIBRATION, Asked, Recipe, quantised

NAME = "nvfp4"
LEVELS = ("NVFP4", "NVFP4A16")
STAGE = "quantize"
FORM = "safetensors"
IMAGE = "optimizer"
GPU = True


def quantize(job: Job) -> dict[str, Any]:
    """Turn ``/parent/published`` into ``/store/work/model``; see ``_compressed.compress``."""
    return compress(job, Kind(recipe, CALIBRATION if job.level == "NVFP4" else (), group=16))


def recipe(asked: Asked) -> Recipe:
    """Activations have a scale of the whole tensor, too, which is calibrated."""
    return Recipe((("QuantizationModifier", quantised(asked.level)),), calibrates=asked.level == "NVFP4")
