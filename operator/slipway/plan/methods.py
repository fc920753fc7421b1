"""The optimisation methods as the planner sees them: bits a weight, published loss; pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.plan.facts import ModelFacts

SIXTEEN = 16.0


@dataclass(frozen=True)
class Method:
    """One way to store weights.

    Attributes:
        level: what it is called in ``spec.optimize.level``; GGUF has many, see ``plan.memory.LEVEL_BITS``.
        bits: bits a weight of the linear layers, scales included; embeddings and output stay at 16.
        loss: published increase in perplexity, percent; orders the methods for goal quality.
        fits_in: bytes of device memory that a parameter needs by the field's rule of thumb; a lower bound
            beside the computed sum.
    """

    level: str
    bits: float
    loss: float
    fits_in: float = 0.0


METHODS: Mapping[str, Method] = {
    "none": Method("BF16", SIXTEEN, 0.0, fits_in=2.4),
    "fp8": Method("FP8", 8.0, 0.5),
    "int8": Method("W8A8", 8.1, 1.0),
    "awq": Method("W4A16", 4.25, 3.0, fits_in=0.6),
    "gptq": Method("W4A16", 4.25, 3.0, fits_in=0.6),
    "compressed-tensors": Method("W4A16", 4.25, 3.0, fits_in=0.6),
    "mxfp4": Method("MXFP4", 4.25, 3.0, fits_in=0.6),
    "nvfp4": Method("NVFP4", 4.5, 3.0, fits_in=0.6),
    "bnb": Method("NF4", 4.5, 4.0, fits_in=0.6),
    "gguf": Method("Q4_K_M", 4.85, 4.0),
}
"""Method to what it does to weights.

Bits: groups of 128 weights share a 16-bit scale and a 4-bit zero point (W4A16), an FP8 scale for 16 weights
(NVFP4), an 8-bit scale for 32 (MXFP4), a 32-bit scale for 64 quantised twice (NF4). Loss: FP8 < 0.5, INT8
about 1, INT4 about 3 %, the field's published figures. ``fits_in``: 16-bit models want 1.2 times their
weights, INT4 0.6 GB a billion parameters.
"""
OTHERS: Mapping[str, tuple[Method, ...]] = {
    "fp8": (Method("FP8_STATIC", 8.0, 0.5),),
    "int8": (Method("W8A16", 8.1, 1.0),),
    "gptq": (Method("W8A16", 8.25, 1.0),),
    "nvfp4": (Method("NVFP4A16", 4.5, 3.0, fits_in=0.6),),
    "mxfp4": (Method("MXFP4A16", 4.25, 3.0, fits_in=0.6),),
}
"""Further levels of methods, which are never chosen unless they are asked for."""


def method_at(method: str, level: str = "") -> Method:
    """A method at one of its levels; at its usual one when the level is empty or another method's."""
    return next((one for one in OTHERS.get(method, ()) if one.level == level), METHODS[method])


def levels_of(method: str) -> tuple[str, ...]:
    """Levels of a method other than ``gguf``, the usual one first."""
    return (METHODS[method].level, *(one.level for one in OTHERS.get(method, ())))


def weight_bytes(facts: ModelFacts, method: str, level: str = "") -> int:
    """Bytes of the weights in memory under a method other than ``gguf``.

    A model that comes quantised has what its files have.
    """
    if facts.quantization:
        return facts.weight_bytes
    kept = min(2 * facts.vocab_size * facts.hidden_size, facts.parameters)
    bits = method_at(method, level).bits
    if bits == SIXTEEN:
        return 2 * facts.parameters
    return round((kept * SIXTEEN + (facts.parameters - kept) * bits) / 8)


def level_of(method: str, dtype: str, asked: str = "") -> str:
    """Name of the level under a method: the one asked for if it has that; 16-bit weights: their type."""
    if method == "none":
        return "F16" if dtype == "float16" else "BF16"
    return method_at(method, asked).level
