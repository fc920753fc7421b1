"""Which revision of a ModelDeployment needs an artifact now; pure, called by the observer.

History lists five revisions; only what is current, or still runs, keeps volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.observe.observed import Raw, User
from slipway.plan.workload import counts


def user(model: Raw, workload: Raw | None, listing: Sequence[Raw], *, planned: bool) -> User:
    """The ModelDeployment as a user of one artifact.

    Args:
        model: the ModelDeployment.
        workload: its Deployment or LeaderWorkerSet; None when there is none.
        listing: its revisions that list the artifact, oldest first.
        planned: it has a revision at all.
    """
    status = model.get("status") or {}
    current = status.get("revision")
    settled = bool(current) and status.get("observedGeneration") == model["metadata"].get("generation")
    if settled and not _rolling(workload):
        needed = {current, _marked(workload) or _measured(status)}
        listing = [raw for raw in listing if raw["metadata"]["name"] in needed]
    newest = listing[-1] if listing else None
    lasting = newest is None or (settled and newest["metadata"]["name"] == current)
    return User(model, newest, planned, lasting)


def comparing(model: Raw, artifact: str, revisions: Sequence[Raw]) -> list[Raw]:
    """The current revision, for an artifact that ``status.compare`` lists; empty for any other.

    Levels that are only compared are no part of a revision: another wish is no other plan.
    """
    status = model.get("status") or {}
    listed = {one.get("artifact") for one in status.get("compare") or ()}
    current = status.get("revision")
    return [raw for raw in revisions if raw["metadata"]["name"] == current] if artifact in listed else []


def listing(model: Raw) -> tuple[object, ...]:
    """What a ModelDeployment's status says of the artifacts that it needs: its revision, what it compares."""
    status = model.get("status") or {}
    return (status.get("revision"), *(one.get("artifact") for one in status.get("compare") or ()))


def _marked(workload: Raw | None) -> str:
    marks = (workload or {}).get("metadata", {}).get("annotations", {})
    return str(marks.get("slipway.dev/revision", ""))


def _measured(status: Raw) -> str:
    """What served last, for a workload that somebody deleted: it comes back."""
    return str((status.get("benchmark") or {}).get("revision", "")).partition("@")[0]


def _rolling(workload: Raw | None) -> bool:
    """Whether pods of an earlier revision may still run, or be what a stuck rollout is turned back to."""
    if workload is None:
        return False
    found = counts(workload)
    return not (found.heard and found.updated == found.existing and found.available >= found.wished)
