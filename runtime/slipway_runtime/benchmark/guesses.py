"""How many guessed tokens the model took while it was measured. Called by load.

Engines count since their start: what the load made of it is the difference. Of several pods the Service may
answer with another one's counters, so a difference that makes no sense is no rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Counted = tuple[float, float]
"""Accepted and guessed tokens."""


def read_counters(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the metrics' names, accepted first, from SLIPWAY_GUESSES; None when nothing is guessed."""
    names = environment.get("SLIPWAY_GUESSES", "").split()
    return (names[0], names[1]) if len(names) == 2 else None  # noqa: PLR2004 - two names


def counted(metrics: str | None, names: tuple[str, str]) -> Counted | None:
    """Return both counters, summed over their labels; None without metrics.

    A counter that is not there yet, as before the first guess, is 0.
    """
    return None if metrics is None else (total(metrics, names[0]), total(metrics, names[1]))


def total(text: str, name: str) -> float:
    """Return the sum of a counter's samples in Prometheus' text form, whatever their labels."""
    values = [
        line.rsplit(maxsplit=1)[-1]
        for line in text.splitlines()
        if line.startswith((f"{name} ", f"{name}{{"))
    ]
    return sum(map(_number, values))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def acceptance(before: Counted | None, after: Counted | None) -> str:
    """Return accepted of guessed tokens between two looks, such as ``62%``; empty when nobody can say."""
    if before is None or after is None:
        return ""
    accepted, guessed = after[0] - before[0], after[1] - before[1]
    if guessed <= 0 or not 0 <= accepted <= guessed:
        return ""
    return f"{math.floor(100 * accepted / guessed)}%"
