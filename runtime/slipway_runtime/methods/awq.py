"""AWQ: weights of 4 bits, scaled beforehand so that those which matter for activations lose least."""

from __future__ import annotations

from typing import Any

from slipway_runtime.job import Job
from slipway_runtime.methods._compressed import Kind, compress
from slipway_runtime.methods._recipes import CALIBRATION, Asked, Recipe, integers, quantised

NAME = "awq"
LEVELS = ("W4A16",)
STAGE = "quantize"
FORM = "safetensors"
IMAGE = "optimizer"
GPU = True


def quantize(job: Job) -> dict[str, Any]:
    """Turn ``/parent/published`` into ``/store/work/model``; see ``_compressed.compress``."""
    return compress(job, Kind(recipe, ("groupSize", "symmetric", *CALIBRATION), grouped=True))


def recipe(asked: Asked) -> Recipe:
    """Zero points unless ``symmetric`` is said: AWQ's own way."""
    scheme = integers(4, asked.group, symmetric=asked.flag("symmetric", default=False))
    return Recipe((("AWQModifier", {}), ("QuantizationModifier", quantised(scheme))), calibrates=True)
