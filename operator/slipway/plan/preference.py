"""What each goal prefers: the order of methods and levels, and of candidates. Pure; called by decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from slipway.plan.candidate import MOSTLY, NODE, Candidate, Request, gguf_loss
from slipway.plan.facts import EngineFacts
from slipway.plan.quantities import GIB
from slipway.plan.stored import stored
from slipway_runtime.gguf_files import Stored

CPU_QUALITY: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""Levels for goal quality, best first; Q8_0 loses less than 1 %, so F16 is only served when asked for."""
CPU_BALANCED: Final = ("Q4_K_M", "Q3_K_M", "Q2_K")
"""Levels for the other goals. Decoding on CPU is bound by memory bandwidth: fewer bytes are more tokens/s."""
GPU_LEVELS: Final[Mapping[str, tuple[str, ...]]] = {
    "quality": ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"),
    "": ("Q5_K_M", "Q4_K_M"),
}
"""GGUF levels for devices; a device's bandwidth is ten times a CPU's, so one level more than on CPU."""
FOUR_BITS: Final = ("awq", "gptq", "compressed-tensors", "mxfp4", "nvfp4")
METHODS_BY_GOAL: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("fp8", "none", "int8", *FOUR_BITS, "bnb", "gguf"),
    "quality": ("none", "fp8", "int8", *FOUR_BITS, "bnb", "gguf"),
    "throughput": ("fp8", *FOUR_BITS, "int8", "none", "bnb", "gguf"),
    "cost": ("fp8", *FOUR_BITS, "int8", "none", "bnb", "gguf"),
    "latency": (*FOUR_BITS, "fp8", "int8", "none", "bnb", "gguf"),
}
"""Goal to the methods on devices, best first."""
SMALL_DEVICE: Final = round(8.5 * GIB)
"""Up to this, GGUF comes first: of 8 GiB the fixed costs of a GPU engine take a quarter. Judged."""
LEAVES: Final = 3
"""Levels of GGUF that count after one method."""


def gpu_levels(goal: str) -> tuple[str, ...]:
    """GGUF levels on devices, best first."""
    return GPU_LEVELS.get(goal, GPU_LEVELS[""])


def cpu_levels(goal: str) -> tuple[str, ...]:
    """GGUF levels on CPU, best first."""
    return CPU_QUALITY if goal == "quality" else CPU_BALANCED


def gguf_levels(request: Request, engine: EngineFacts, listed: Sequence[str]) -> tuple[str, ...]:
    """Levels to try for this engine, best first; none where the model comes in parts that it can't load.

    That is what the spec names; else the goal's list, or what stands for it among the levels that the model
    comes with. There each entry stands for itself, or for the nearest level that loses no less, and less than
    the entry behind it; the first may stand for the nearest better one. So rules are those of made levels.
    """
    wishes, facts = request.wishes, request.facts
    fixed = wishes.level or ("F16" if wishes.method == "none" else "")
    if not facts.levels:
        return (fixed,) if fixed else tuple(listed)
    held = [one for one in stored(facts.levels) if engine.splits or one.parts == 1]
    if fixed:
        return (fixed,) if any(one.level == fixed for one in held) else ()
    return tuple(standing(held, listed))


def standing(held: Sequence[Stored], listed: Sequence[str]) -> list[str]:
    """Levels among those that a model comes with, in the place of a goal's list; see ``gguf_levels``."""
    taken: list[str] = []
    for name, following in zip(listed, [*listed[1:], ""], strict=True):
        low, high = gguf_loss(name), gguf_loss(following) if following else inf
        near = [one for one in held if low <= gguf_loss(one.level) < high]
        better = [one for one in held if gguf_loss(one.level) < low] if not taken else []
        if near:
            least = min(near, key=lambda one: (one.level != name, gguf_loss(one.level), one.bytes))
            taken.append(least.level)
        elif better:
            taken.append(min(better, key=lambda one: (-gguf_loss(one.level), one.bytes)).level)
    return taken


def tier(goal: str, method: str, position: int, *, small: bool) -> int:
    """Place of method and level in what the goal prefers: 0 and less is what it would have.

    Args:
        goal: empty for the default.
        method: of ``plan.methods``.
        position: of the level among those of its method.
        small: the device is so small that the fixed costs of a GPU engine leave little of it: GGUF first.
    """
    place = -1 if small and method == "gguf" else METHODS_BY_GOAL[goal].index(method)
    return LEAVES * place + min(position, LEAVES - 1)


def key(goal: str, candidate: Candidate) -> tuple[float, ...]:
    """Sort key: the least is chosen. What needs no waiting comes first, then what the goal is about.

    The rest breaks ties: the price of a token, else the smallest device, the engine's rank.
    """
    one = candidate
    no_price = one.price is None
    rest = (no_price, one.price or 0.0, one.device_bytes, one.engine.rank, -one.concurrency)
    return (not one.free, *_first(goal, one), *rest, one.token_seconds)


def _first(goal: str, one: Candidate) -> tuple[float, ...]:
    if goal == "quality":
        return one.loss, one.place, one.tier
    if goal == "latency":
        # Fewest bytes among GPU engines; llama.cpp has fewer still, and kernels for one request at a time.
        return one.place, one.method == "gguf", one.engine.goals != {"latency"}, one.token_seconds
    if goal == "cost":
        return one.price is None, one.price or 0.0, one.place, one.tier
    # Most layers on a device at a better level come before all of them at the next: a level is worth more.
    return 0 if one.place in (NODE, MOSTLY) else one.place, one.tier, one.place
