"""GPTQ: weights of 4 or 8 bits, column by column, the rest of each row making good for what one loses."""

from __future__ import annotations

from typing import Any

from slipway_runtime.job import Job
from slipway_runtime.methods._compressed import Kind, compress
from slipway_runtime.methods._recipes import CALIBRATION, Asked, Recipe, integers, quantised

NAME = "gptq"
LEVELS = ("W4A16", "W8A16")
STAGE = "quantize"
FORM = "safetensors"
IMAGE = "optimizer"
GPU = True


def quantize(job: Job) -> dict[str, Any]:
    """Turn ``/parent/published`` into ``/store/work/model``; see ``_compressed.compress``."""
    return compress(job, Kind(recipe, ("groupSize", "symmetric", "actOrder", *CALIBRATION), grouped=True))


def recipe(asked: Asked) -> Recipe:
    """Symmetric unless said otherwise, as kernels like it best.

    ``actOrder`` is GPTQ's desc_act: columns that matter most come first. The order is undone in what is
    written, so it costs nothing later.
    """
    bits = 4 if asked.level == "W4A16" else 8
    scheme = integers(bits, asked.group, symmetric=asked.flag("symmetric", default=True))
    order = "static" if asked.flag("actOrder", default=True) else None
    return Recipe((("GPTQModifier", quantised(scheme, actorder=order)),), calibrates=True)
