"""Rule: time to first token, P50 and P95, at every measured concurrency. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.load import levels, measured_by, unmeasured, whole_answers
from slipway.checks.profiles import Profile


def _run(given: Input, profile: Profile) -> Finding:
    p50, p95 = profile.ttft_p50, profile.ttft_p95
    threshold = f"P50 at most {p50}, P95 at most {p95}, at every concurrency"
    if vectors := whole_answers(given, "first token"):
        return vectors
    found = levels(given)
    if not found:
        return unmeasured(given, threshold)
    value = ", ".join(
        f"P50 {one.ttft_p50_ms:.0f} ms and P95 {one.ttft_p95_ms:.0f} ms at {one.concurrency}" for one in found
    )
    evidence = measured_by(given, "ttftP50Ms and ttftP95Ms")
    if any(one.ttft_p95_ms > p95.limit for one in found):
        return Finding("FAIL", value, threshold, evidence)
    if any(one.ttft_p50_ms > p50.limit for one in found):
        return Finding("WARN", value, threshold, evidence)
    fewest = min(one.requests for one in found)
    if fewest < profile.requests.limit:
        return Finding(
            "WARN",
            f"{value}; only {fewest} requests at one concurrency",
            threshold,
            evidence,
            "too few requests for a percentile: make the model faster (fix of throughput), then "
            "measure again",
        )
    return Finding("PASS", value, threshold, evidence)


CHECK = Check(
    name="ttft",
    title="How long until the first token?",
    kind="measured",
    why="People judge a chat by the wait before anything appears.",
    passes="PASS: P50 and P95 are within the limits at every measured concurrency. "
    "WARN: P50 is above its limit, or too few requests. FAIL: P95 is above its limit. "
    "SKIP: an embedding model, whose answer comes whole.",
    fix="give the engine more CPU (engine.resources.cpu), lower engine.concurrency, or add replicas",
    run=_run,
)
