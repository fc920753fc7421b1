"""Rule: what runs is what Slipway wished, no webhook changed it. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.lookup import deployment, dig, no_deployment, where
from slipway.checks.profiles import Profile
from slipway.manifests.held import HELD

THRESHOLD = "admission leaves the model's objects as they are applied"


def _run(given: Input, _: Profile) -> Finding:
    if not deployment(given):
        return no_deployment(given, THRESHOLD)
    changed = [
        kind
        for kind, found in sorted(given.children.items())
        if HELD in (dig(found, "metadata", "annotations") or {})
    ]
    if not changed:
        evidence = where("Deployment", deployment(given), f"metadata.annotations, no {HELD}", given)
        return Finding("PASS", "nothing was changed", THRESHOLD, evidence)
    evidence = where(changed[0], given.children[changed[0]], f"metadata.annotations[{HELD}]", given)
    return Finding("WARN", f"changed on admission: {', '.join(changed)}", THRESHOLD, evidence)


CHECK = Check(
    name="admission",
    title="Does the model run as it was planned?",
    kind="objects",
    why="A mutating webhook that changes images, limits or probes makes plan and measurements speak of "
    "another pod than the one that runs.",
    passes="PASS: every object is what was applied. WARN: a mutating webhook changed one, each time it was "
    "applied; Slipway takes it as it is.",
    fix="compare `slipway render` with the object, and except the namespace, or the label "
    "app.kubernetes.io/managed-by=slipway, in the webhook that changes it",
    run=_run,
)
