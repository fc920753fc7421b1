"""Which revision of a ModelDeployment needs an artifact now; pure, called by the observer.

History lists five revisions; only what is current, or still runs, keeps volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.observe.observed import Raw, User


def user(model: Raw, deployment: Raw | None, listing: Sequence[Raw], *, planned: bool) -> User:
    """The ModelDeployment as a user of one artifact.

    Args:
        model: the ModelDeployment.
        deployment: its Deployment; None when there is none.
        listing: its revisions that list the artifact, oldest first.
        planned: it has a revision at all.
    """
    status = model.get("status") or {}
    current = status.get("revision")
    settled = bool(current) and status.get("observedGeneration") == model["metadata"].get("generation")
    if settled and not _rolling(deployment):
        needed = {current, _marked(deployment) or _measured(status)}
        listing = [raw for raw in listing if raw["metadata"]["name"] in needed]
    newest = listing[-1] if listing else None
    lasting = newest is None or (settled and newest["metadata"]["name"] == current)
    return User(model, newest, planned, lasting)


def _marked(deployment: Raw | None) -> str:
    marks = (deployment or {}).get("metadata", {}).get("annotations", {})
    return str(marks.get("slipway.dev/revision", ""))


def _measured(status: Raw) -> str:
    """What served last, for a Deployment that somebody deleted: it comes back."""
    return str((status.get("benchmark") or {}).get("revision", "")).partition("@")[0]


def _rolling(deployment: Raw | None) -> bool:
    """Whether pods of an earlier revision may still run, or be what a stuck rollout is turned back to."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    seen = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 0))
    same = int(status.get("updatedReplicas", 0)) == int(status.get("replicas", 0))
    available = int(status.get("availableReplicas", 0)) >= int(deployment["spec"].get("replicas", 1))
    return not (seen and same and available)
