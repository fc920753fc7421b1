"""Rule: the engine's containers have startup, readiness and liveness probes. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input, Verdict
from slipway.checks.lookup import containers, deployment, no_deployment, where
from slipway.checks.profiles import Profile

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def _run(given: Input, _: Profile) -> Finding:
    threshold = "startup, readiness and liveness"
    found = containers(given)
    if not found:
        return no_deployment(given, threshold)
    missing = [f"{one['name']}.{probe}" for one in found for probe in PROBES if probe not in one]
    verdict: Verdict = "PASS"
    if missing:
        verdict = "FAIL" if any(name.endswith("readinessProbe") for name in missing) else "WARN"
    value = f"missing: {', '.join(missing)}" if missing else f"all three on {len(found)} container(s)"
    evidence = where("Deployment", deployment(given), "spec.template.spec.containers[*]", given)
    return Finding(verdict, value, threshold, evidence)


CHECK = Check(
    name="probes",
    title="Does Kubernetes know when the engine is alive and ready?",
    kind="objects",
    why="Without readiness, requests reach a pod that still loads its model; without liveness a "
    "hung one stays.",
    passes="PASS: all three probes on every container. WARN: startup or liveness is missing. "
    "FAIL: readiness is.",
    fix="remove what changed the Deployment by hand or by a webhook: Slipway's own pods carry "
    "all three probes",
    run=_run,
)
