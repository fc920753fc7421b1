"""INT8: weights and activations of 8 bits after SmoothQuant, or weights alone."""

from __future__ import annotations

from typing import Any, Final

from slipway_runtime.job import Job
from slipway_runtime.methods._compressed import Kind, compress
from slipway_runtime.methods._recipes import CALIBRATION, Asked, Recipe, integers, quantised

NAME = "int8"
LEVELS = ("W8A8", "W8A16")
STAGE = "quantize"
FORM = "safetensors"
IMAGE = "optimizer"
GPU = True
STRENGTH: Final = 0.8
"""How much of the activations' outliers moves into the weights: what llmcompressor's W8A8 examples take."""


def quantize(job: Job) -> dict[str, Any]:
    """Turn ``/parent/published`` into ``/store/work/model``; see ``_compressed.compress``."""
    return compress(job, Kind(recipe, CALIBRATION if job.level == "W8A8" else ()))


def recipe(asked: Asked) -> Recipe:
    """A scale for each channel of weights and, for W8A8, for each token while it is served."""
    if asked.level == "W8A16":
        weights = quantised(integers(8, 0, symmetric=True))
        return Recipe((("QuantizationModifier", weights),), calibrates=False)
    smooth = ("SmoothQuantModifier", {"smoothing_strength": STRENGTH})
    return Recipe((smooth, ("QuantizationModifier", quantised("W8A8"))), calibrates=True)
