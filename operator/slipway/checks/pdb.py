"""Rule: a PodDisruptionBudget that covers the engine and lets drains through. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.lookup import deployment, dig, no_deployment, pod_labels, selects, where
from slipway.checks.profiles import Profile

THRESHOLD = "selects the engine's pods, allows a disruption, evicts unhealthy pods always"


def _blocks_drain(budget: object, replicas: int) -> bool:
    at_most, at_least = dig(budget, "spec", "maxUnavailable"), dig(budget, "spec", "minAvailable")
    if at_most is not None:
        return str(at_most) in ("0", "0%")
    if str(at_least).endswith("%"):
        return str(at_least) == "100%"
    return int(at_least or 0) >= replicas > 0


def _run(given: Input, _: Profile) -> Finding:
    engine = deployment(given)
    if not engine:
        return no_deployment(given, THRESHOLD)
    budget = given.children.get("PodDisruptionBudget")
    if budget is None:
        return Finding(
            "FAIL", "none", THRESHOLD, f"PodDisruptionBudget {given.namespace}/{given.name}: absent"
        )
    evidence = where("PodDisruptionBudget", budget, "spec", given)
    if not selects(dig(budget, "spec", "selector"), pod_labels(given)):
        return Finding("FAIL", "selects other pods", THRESHOLD, evidence)
    replicas = int(dig(engine, "spec", "replicas") or 1)
    at_most, at_least = dig(budget, "spec", "maxUnavailable"), dig(budget, "spec", "minAvailable")
    value = f"maxUnavailable {at_most}" if at_most is not None else f"minAvailable {at_least}"
    if _blocks_drain(budget, replicas):
        return Finding("FAIL", f"{value} of {replicas}: no node can be drained", THRESHOLD, evidence)
    if dig(budget, "spec", "unhealthyPodEvictionPolicy") != "AlwaysAllow":
        return Finding("WARN", f"{value}, unhealthy pods can block a drain", THRESHOLD, evidence)
    return Finding("PASS", f"{value}, AlwaysAllow", THRESHOLD, evidence)


CHECK = Check(
    name="pdb",
    title="Do node drains keep the model answering, and get done?",
    kind="objects",
    why="Without a budget a drain may take every replica at once; with a wrong one it never ends.",
    passes="PASS: a PodDisruptionBudget selects the pods, allows a disruption and has "
    "unhealthyPodEvictionPolicy "
    "AlwaysAllow. WARN: that policy is missing. FAIL: no budget, other pods, or no disruption allowed.",
    fix="delete the PodDisruptionBudget: Slipway writes it anew with maxUnavailable 1 and AlwaysAllow",
    run=_run,
)
