"""Levels that a model comes with as GGUF files, with their sizes. Pure; for decide, memory, preference."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from slipway.api import reasons
from slipway.errors import InvalidSpecError
from slipway.plan.facts import ModelFacts
from slipway.plan.quantities import gib_text
from slipway_runtime.gguf_files import Stored, decode

SHOWN: Final = 20


@lru_cache(maxsize=256)
def stored(levels: str) -> tuple[Stored, ...]:
    """Levels of ``ModelFacts.levels``, the smallest first; ValueError when it is of another form."""
    return decode(levels)


def stored_level(facts: ModelFacts, level: str) -> Stored | None:
    """A level that the model comes with; None for another, and for a model that is to be made GGUF."""
    return next((one for one in stored(facts.levels) if one.level == level), None)


def wished_level(source: str, facts: ModelFacts, level: str) -> str:
    """The level that the spec names, as the model's files have it.

    Raises:
        InvalidSpecError: ``UnknownLevel``; the message lists those that there are.
    """
    wished = level.upper()
    if not wished or stored_level(facts, wished) is not None:
        return wished
    held = stored(facts.levels)
    there = ", ".join(f"{one.level} ({gib_text(one.bytes)})" for one in held[:SHOWN])
    more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
    raise InvalidSpecError(
        reasons.UNKNOWN_LEVEL,
        f"spec.optimize.level: {source} comes as GGUF files, and has none of level {level}; it has {there}"
        f"{more}. Name one of them, leave it to auto, or name the repository with the original weights to "
        f"have {level} made.",
    )
