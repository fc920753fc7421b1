"""Rule: a NetworkPolicy lets only named callers in. Run by ``slipway.checks``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slipway.checks.base import Check, Finding, Input, Object, Verdict
from slipway.checks.lookup import deployment, dig, no_deployment, pod_labels, selects, where
from slipway.checks.profiles import Profile

THRESHOLD = "selects the engine's pods, denies by default, names its callers"


def _open_to_all(rules: Sequence[Object]) -> bool:
    """Whether a rule admits everybody: no ``from``, or a peer that is everything."""
    return any(not rule.get("from") or any(_everybody(peer) for peer in rule["from"]) for rule in rules)


def _everybody(peer: Object) -> bool:
    if dig(peer, "ipBlock", "cidr") in ("0.0.0.0/0", "::/0"):
        return True
    return peer.get("namespaceSelector") == {} and not peer.get("podSelector")


def _judge(policy: Object, labels: Mapping[str, str]) -> tuple[Verdict, str]:
    spec = policy.get("spec") or {}
    types = spec.get("policyTypes") or ("Ingress",)
    rules = spec.get("ingress") or ()
    faults = {
        "selects other pods": not selects(spec.get("podSelector"), labels),
        "says nothing about ingress": "Ingress" not in types,
        "a rule admits everybody": _open_to_all(rules),
    }
    broken = [words for words, is_broken in faults.items() if is_broken]
    if broken:
        return "FAIL", ", ".join(broken)
    if "Egress" not in types:
        return "WARN", "ingress only: the engine may call out"
    peers = sum(len(rule["from"]) for rule in rules)
    return (
        "PASS",
        f"ingress from {peers} named peer(s), egress limited; enforcement by the CNI is not seen here",
    )


def _run(given: Input, _: Profile) -> Finding:
    if not deployment(given):
        return no_deployment(given, THRESHOLD)
    policy = given.children.get("NetworkPolicy")
    if policy is None:
        return Finding("FAIL", "none", THRESHOLD, f"NetworkPolicy {given.namespace}/{given.name}: absent")
    verdict, value = _judge(policy, pod_labels(given))
    return Finding(verdict, value, THRESHOLD, where("NetworkPolicy", policy, "spec", given))


CHECK = Check(
    name="network-policy",
    title="Can only named callers reach the engine?",
    kind="objects",
    why="Without a policy every pod of the cluster reaches the model, and a broken engine "
    "reaches everything.",
    passes="PASS: a NetworkPolicy selects the engine's pods and limits ingress to named peers "
    "as well as egress. "
    "WARN: egress is open. FAIL: no policy, other pods, or a rule for everybody. "
    "It judges the object; enforcement is the network plugin's.",
    fix="set the chart's networkPolicy.enabled, name callers in spec.access.allowFrom, use a "
    "CNI that enforces",
    run=_run,
)
