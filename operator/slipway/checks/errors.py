"""Rule: requests succeed at both measured concurrencies. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input, Verdict
from slipway.checks.load import levels, measured_by, unmeasured
from slipway.checks.profiles import Profile

CONCURRENCIES = 2
"""Levels that must have been measured: alone and with company."""


def _run(given: Input, profile: Profile) -> Finding:
    limit = profile.error_rate.limit
    threshold = f"at most {limit:g} % at {CONCURRENCIES} concurrencies"
    found = levels(given)
    if not found:
        return unmeasured(given, threshold)
    finished = [one for one in found if one.requests + one.errors]
    words = [f"none finished at {one.concurrency}" for one in found if one not in finished]
    words += [
        f"{one.error_rate:.3g} % ({one.errors} of {one.requests + one.errors}) at {one.concurrency}"
        for one in finished
    ]
    verdict: Verdict = "PASS" if len(finished) >= CONCURRENCIES else "WARN"
    if any(one.error_rate > limit for one in found):
        verdict = "FAIL"
    return Finding(verdict, ", ".join(words), threshold, measured_by(given, "errors"))


CHECK = Check(
    name="errors",
    title="Does every request get its answer?",
    kind="measured",
    why="An endpoint that fails under two users' load fails its users first.",
    passes="PASS: the error rate is within the limit at every concurrency, two at least. "
    "WARN: requests finished at fewer concurrencies. FAIL: above the limit.",
    fix="read the engine's log at that time; lower engine.concurrency or add replicas",
    run=_run,
)
