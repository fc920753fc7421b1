"""Rule: generated tokens a second for each running request. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.load import levels, measured_by, unmeasured, whole_answers
from slipway.checks.profiles import Profile


def _run(given: Input, profile: Profile) -> Finding:
    limit = profile.tokens_per_second.limit
    threshold = f"at least {limit:g} tokens/s for each running request, at every concurrency"
    if vectors := whole_answers(given, "text that is read while it is written"):
        return vectors
    found = levels(given)
    if not found:
        return unmeasured(given, threshold)
    each = [one.tokens_per_second / one.concurrency for one in found]
    value = ", ".join(
        f"{rate:.3g} tokens/s each ({one.tokens_per_second:.3g} in all) at {one.concurrency}"
        for rate, one in zip(each, found, strict=True)
    )
    evidence = measured_by(given, "tokensPerSecond")
    if each[0] < limit:
        return Finding("FAIL", value, threshold, evidence)
    if min(each) < limit:
        return Finding("WARN", value, threshold, evidence)
    return Finding("PASS", value, threshold, evidence)


CHECK = Check(
    name="throughput",
    title="Does the text come as fast as people read?",
    kind="measured",
    why="Below reading speed every user waits at every word.",
    passes="PASS: tokens/s divided by concurrency reach the limit at every concurrency. "
    "WARN: only the lowest concurrency does. FAIL: not even that. "
    "SKIP: an embedding model, which writes no text.",
    fix="choose a smaller optimize.level, give the engine more CPU (engine.resources.cpu), or add replicas",
    run=_run,
)
