"""Rule: requests and a memory limit that hold the plan. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input, Object, Verdict
from slipway.checks.lookup import amount, containers, deployment, dig, mebibytes, no_deployment, where
from slipway.checks.profiles import Profile

NEEDED = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))


def _missing(container: Object) -> list[str]:
    return [
        f"{container['name']}.{part}.{kind}"
        for part, kind in NEEDED
        if not dig(container, "resources", part, kind)
    ]


def _run(given: Input, _: Profile) -> Finding:
    planned = given.plan.memory.total
    threshold = f"requests for cpu and memory, memory limit at least the planned {mebibytes(planned)}"
    found = containers(given)
    if not found:
        return no_deployment(given, threshold)
    evidence = where("Deployment", deployment(given), "spec.template.spec.containers[*].resources", given)
    missing = [name for one in found for name in _missing(one)]
    if missing:
        return Finding("FAIL", f"missing: {', '.join(missing)}", threshold, evidence)
    limit = sum(amount(dig(one, "resources", "limits", "memory")) for one in found)
    request = sum(amount(dig(one, "resources", "requests", "memory")) for one in found)
    cpu = sum(amount(dig(one, "resources", "requests", "cpu")) for one in found)
    value = f"requests {cpu:g} CPU and {mebibytes(request)}, memory limit {mebibytes(limit)}"
    verdict: Verdict = "PASS"
    if request < planned:
        verdict = "WARN"
    if limit < planned:
        verdict = "FAIL"
    return Finding(verdict, value, threshold, evidence)


CHECK = Check(
    name="resources",
    title="Does the node reserve what the model needs?",
    kind="objects",
    why="Without requests the scheduler overfills the node; a limit below the plan ends in an "
    "OOM kill under load.",
    passes="PASS: requests for CPU and memory, memory request and limit at least the planned memory. "
    "WARN: the memory request is below the plan. FAIL: one is missing, or the limit is below the plan.",
    fix="remove spec.engine.resources, or set its memory to at least status.plan.memory.total",
    run=_run,
)
