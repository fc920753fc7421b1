"""Rule: guessed tokens come true, and few requests run at once. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.load import by_whom, unmeasured
from slipway.checks.profiles import Profile


def _run(given: Input, profile: Profile) -> Finding:
    rate, most = profile.acceptance, profile.speculative_concurrency
    threshold = f"at least {rate} of guessed tokens are taken, at most {most} at once"
    where = f"ModelDeployment {given.namespace}/{given.name}"
    guess = given.spec.engine.speculative if given.spec.engine else None
    if guess is None:
        return Finding("SKIP", "no speculative decoding", threshold, f"{where} spec.engine.speculative")
    if given.plan.concurrency > most.limit:
        return Finding(
            "WARN",
            f"{given.plan.concurrency} requests at once guess by {guess.kind}",
            threshold,
            f"{where} status.plan.concurrency; {most.source}",
            f"set engine.concurrency to {most.limit:g} or less, or drop engine.speculative",
        )
    if given.benchmark is None:
        return unmeasured(given, threshold)
    measured = given.benchmark.get("acceptanceRate")
    evidence = f"{where} status.benchmark.acceptanceRate {by_whom(given)}"
    if measured is None:
        return Finding("SKIP", f"{given.plan.engine} counted no guesses", threshold, evidence)
    value = f"{measured} of the tokens guessed by {guess.kind} were taken"
    low = float(str(measured).rstrip("%")) < rate.limit
    return Finding("WARN" if low else "PASS", value, threshold, evidence)


CHECK = Check(
    name="speculative-acceptance",
    title="Do guesses come true?",
    kind="measured",
    why="A guess that is thrown away was computed for nothing, and with many requests at once there is no "
    "idle hardware left to compute it on: then guessing makes answers slower.",
    passes="PASS: the share of guessed tokens that the model took while it was measured reaches the limit. "
    "WARN: it does not, or the plan has more requests at once than guessing pays for. SKIP: no speculative "
    "decoding, an engine that counts no guesses, or not measured yet.",
    fix="name a draft that is nearer to the model, set fewer engine.speculative.tokens, or drop "
    "engine.speculative; the load is plain text, so measure your own where it repeats itself more",
    run=_run,
)
