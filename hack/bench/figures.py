"""One measured figure and the table that shows them; shared by the benchmarks of this folder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, the value with its unit, the goal, and whether it was met."""

    what: str
    value: str
    goal: str
    met: bool


def table(figures: list[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = ["| Figure | Measured | Goal | Met |", "|---|---|---|---|"]
    rows += [f"| {f.what} | {f.value} | {f.goal} | {'yes' if f.met else 'NO'} |" for f in figures]
    return "\n".join(rows)
