"""Rule: the artifact's claim and the nodes' disks have room. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.lookup import amount, dig, mebibytes
from slipway.checks.profiles import Profile


def _pressed(given: Input) -> tuple[list[str], int]:
    """Nodes of the engine's pods with DiskPressure, and how many of the nodes have told their state."""
    used = {dig(pod, "spec", "nodeName") for pod in given.pods}
    states = {
        node.facts.name: node.conditions["DiskPressure"]
        for node in given.nodes
        if node.facts.name in used and "DiskPressure" in node.conditions
    }
    return sorted(name for name, status in states.items() if status != "False"), len(states)


def _run(given: Input, profile: Profile) -> Finding:
    limit = profile.claim_free.limit
    threshold = f"at least {limit:g} % of the claim unused, DiskPressure False on the engine's nodes"
    pressed, known = _pressed(given)
    if pressed:
        evidence = f"Node {', '.join(pressed)} status.conditions[DiskPressure]"
        return Finding("FAIL", f"DiskPressure on {', '.join(pressed)}", threshold, evidence)
    capacity = amount(dig(given.claim, "status", "capacity", "storage"))
    size = given.artifact_status.get("sizeBytes")
    if not capacity or size is None or not known:
        evidence = f"ModelArtifact, PersistentVolumeClaim {given.namespace}/{given.artifact_name}, Nodes"
        return Finding("SKIP", "claim, size or node conditions are not known", threshold, evidence)
    free = 100 * (capacity - int(size)) / capacity
    claim = dig(given.claim, "metadata", "name") or given.artifact_name
    evidence = (
        f"ModelArtifact {given.namespace}/{given.artifact_name} status.sizeBytes, PersistentVolumeClaim "
        f"{given.namespace}/{claim} status.capacity.storage, status.conditions[DiskPressure] of "
        f"{known} node(s)"
    )
    value = f"{free:.0f} % of {mebibytes(capacity)} unused, no DiskPressure on {known} node(s)"
    return Finding("PASS" if free >= limit else "WARN", value, threshold, evidence)


CHECK = Check(
    name="free-disk",
    title="Is there room on the disks?",
    kind="objects",
    why="A node with DiskPressure evicts pods, and a full claim can't take the next build.",
    passes="PASS: no DiskPressure on the nodes of the engine's pods, and the claim has the "
    "profile's share unused. "
    "WARN: the claim has less. FAIL: DiskPressure. SKIP: one of the figures is not known. "
    "The claim's use is the artifact's recorded size, not a reading of the volume.",
    fix="free or enlarge the node's disk; for the claim raise spec.store.size",
    run=_run,
)
