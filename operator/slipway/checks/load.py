"""Reads the benchmark's figures, and answers for the rules when there are none. For rules only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.checks.base import Finding, Input

FIGURES = (
    "concurrency",
    "requests",
    "errors",
    "requestsPerSecond",
    "tokensPerSecond",
    "ttftP50Ms",
    "ttftP95Ms",
)


@dataclass(frozen=True)
class Level:
    """Figures at one concurrency: rates in 1/s over all requests, times in ms.

    Attributes:
        requests: answered; ``errors`` come on top.
    """

    concurrency: int
    requests: int
    errors: int
    requests_per_second: float
    tokens_per_second: float
    ttft_p50_ms: float
    ttft_p95_ms: float

    @property
    def error_rate(self) -> float:
        """Failed of all finished requests, percent; NaN when none finished."""
        tried = self.requests + self.errors
        return 100 * self.errors / tried if tried else math.nan


def levels(given: Input) -> Sequence[Level]:
    """Measured levels by concurrency, empty when there is no benchmark; a row that lacks a figure is none."""
    rows = (given.benchmark or {}).get("levels") or ()
    whole = [row for row in rows if all(row.get(name) is not None for name in FIGURES)]
    found = [
        Level(
            concurrency=int(row["concurrency"]),
            requests=int(row["requests"]),
            errors=int(row["errors"]),
            requests_per_second=float(row["requestsPerSecond"]),
            tokens_per_second=float(row["tokensPerSecond"]),
            ttft_p50_ms=float(row["ttftP50Ms"]),
            ttft_p95_ms=float(row["ttftP95Ms"]),
        )
        for row in whole
    ]
    return sorted(found, key=lambda level: level.concurrency)


def whole_answers(given: Input, missing: str) -> Finding | None:
    """Answer of a rule about text for a model that makes vectors, None for any other: SKIP and why.

    Args:
        given: the checklist's input.
        missing: what such a model has not, which the rule judges.
    """
    if not given.plan.embeds:
        return None
    found = levels(given)
    words = [
        f"{one.requests_per_second:.3g}/s, P50 {one.ttft_p50_ms:.0f} ms and P95 {one.ttft_p95_ms:.0f} ms at "
        f"{one.concurrency}"
        for one in found
    ]
    evidence = f"plan.embeds: a vector comes whole, so there is no {missing}"
    if found:
        evidence += f"; {measured_by(given, 'latencyP50Ms and latencyP95Ms')}"
    value = f"whole answers: {', '.join(words)}" if words else "not measured yet"
    return Finding("SKIP", value, "none for an embedding model", evidence)


def unmeasured(given: Input, threshold: str) -> Finding:
    """Answer without figures: SKIP while they may still come or could not be taken, WARN once it failed."""
    if given.benchmark_failure:
        return Finding(
            "WARN",
            "not measured",
            threshold,
            f"benchmark Job of {given.namespace}/{given.name}: {given.benchmark_failure}",
            "read the benchmark Job's log, mend what it names, then change annotation slipway.dev/retry",
        )
    if given.benchmark_skipped:
        evidence = (
            f"benchmark Job of {given.namespace}/{given.name}: {given.benchmark_skipped}; once there is "
            "room, change annotation slipway.dev/retry"
        )
        return Finding("SKIP", "no room to measure", threshold, evidence)
    return Finding(
        "SKIP", "not measured yet", threshold, f"no benchmark of {given.namespace}/{given.name} so far"
    )


def measured_by(given: Input, field: str) -> str:
    """Evidence text: object, field, tool and time of the figures."""
    return f"status.benchmark.levels[].{field} {by_whom(given)}"


def by_whom(given: Input) -> str:
    """Tool and time of the benchmark."""
    benchmark = given.benchmark or {}
    return f"by {benchmark.get('tool', 'unknown tool')} at {benchmark.get('finishedAt', 'unknown time')}"
