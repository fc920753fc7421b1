"""Rule: enough ready replicas on enough nodes. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input, Object, Verdict
from slipway.checks.lookup import deployment, dig, no_deployment, where
from slipway.checks.profiles import Profile


def _is_ready(pod: Object) -> bool:
    conditions = dig(pod, "status", "conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _run(given: Input, profile: Profile) -> Finding:
    wanted_pods, wanted_nodes = int(profile.replicas.limit), int(profile.nodes.limit)
    threshold = f"at least {wanted_pods} ready on at least {wanted_nodes} node(s)"
    engine = deployment(given)
    if not engine:
        return no_deployment(given, threshold)
    desired = int(dig(engine, "spec", "replicas") or 0)
    evidence = where("Deployment", engine, "status.readyReplicas and its pods' spec.nodeName", given)
    if desired == 0:
        return Finding("SKIP", "scaled to 0 on purpose", threshold, evidence)
    ready = int(dig(engine, "status", "readyReplicas") or 0)
    nodes = {dig(pod, "spec", "nodeName") for pod in given.pods if _is_ready(pod)} - {None}
    verdict: Verdict = "PASS"
    if ready < desired or ready < wanted_pods or len(nodes) < wanted_nodes:
        verdict = "WARN"
    if ready == 0:
        verdict = "FAIL"
    return Finding(verdict, f"{ready} of {desired} ready on {len(nodes)} node(s)", threshold, evidence)


CHECK = Check(
    name="replicas",
    title="Is there an answer when one pod goes?",
    kind="objects",
    why="A single pod is one drain, crash or eviction away from no answer, for as long as a "
    "model takes to load.",
    passes="PASS: all wanted replicas are ready, at least as many and on as many nodes as the "
    "profile asks for. "
    "WARN: fewer. FAIL: none is ready. SKIP: scaled to 0.",
    fix="raise spec.replicas or spec.autoscaling.minReplicas; for more nodes add nodes that fit status.plan",
    run=_run,
)
