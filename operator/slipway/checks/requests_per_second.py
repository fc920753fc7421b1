"""Rule: finished requests a second, by Little's law from the other limits. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.load import levels, measured_by, unmeasured, whole_answers
from slipway.checks.profiles import Profile


def needed(profile: Profile, concurrency: int) -> float:
    """Requests/s that a closed loop reaches when TTFT and tokens/s just keep the profile's limits.

    Little's law: rate = concurrency ÷ time of one request, which is TTFT P95 + output tokens ÷ tokens/s.
    """
    seconds = profile.ttft_p95.limit / 1000 + profile.output_tokens.limit / profile.tokens_per_second.limit
    return concurrency / seconds


def _run(given: Input, profile: Profile) -> Finding:
    if vectors := whole_answers(given, "TTFT and no rate of tokens that a limit could follow from"):
        return vectors
    found = levels(given)
    if not found:
        return unmeasured(given, f"at least {needed(profile, 1):.2f}/s for each request in flight")
    limits = [needed(profile, one.concurrency) for one in found]
    threshold = ", ".join(
        f"at least {limit:.2f}/s at {one.concurrency}" for limit, one in zip(limits, found, strict=True)
    )
    value = ", ".join(f"{one.requests_per_second:.2f}/s at {one.concurrency}" for one in found)
    evidence = measured_by(given, "requestsPerSecond")
    kept = [one.requests_per_second >= limit for limit, one in zip(limits, found, strict=True)]
    if not kept[0]:
        return Finding("FAIL", value, threshold, evidence)
    return Finding("PASS" if all(kept) else "WARN", value, threshold, evidence)


CHECK = Check(
    name="requests-per-second",
    title="How many requests get done?",
    kind="measured",
    why="It is what capacity is counted in: how many users one replica carries.",
    passes="PASS: every concurrency reaches the rate that follows from the profile's TTFT and "
    "tokens/s by Little's "
    "law. WARN: only the lowest concurrency does. FAIL: not even that. "
    "SKIP: an embedding model, which has neither.",
    fix="add replicas or autoscaling, or give the engine more CPU (engine.resources.cpu)",
    run=_run,
)
