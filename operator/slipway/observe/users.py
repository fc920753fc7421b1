"""Which revision of a ModelDeployment needs an artifact now; pure, called by the observer.

History lists five revisions; only what is current, or still runs, keeps volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.observe.observed import Raw, User
from slipway.observe.store import Store
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


def by_owner(listing: Sequence[Raw]) -> dict[str, list[Raw]]:
    """Revisions by the uid of the ModelDeployment that they are of, oldest first."""
    found: dict[str, list[Raw]] = {}
    for raw in sorted(listing, key=_number):
        for ref in raw["metadata"].get("ownerReferences", ()):
            found.setdefault(ref["uid"], []).append(raw)
    return found


def uses(model: Raw, listing: Sequence[Raw], revisions: Sequence[Raw], *, compares: bool) -> list[Raw]:
    """The revisions that need an artifact, oldest first: those that list it, the current one that compares.

    Levels that are only compared are no part of a revision: another wish is no other plan.

    Args:
        model: the ModelDeployment.
        listing: its revisions that list the artifact.
        revisions: all of it.
        compares: the artifact is one that it compares, or makes such a one of.
    """
    current = (model.get("status") or {}).get("revision")
    named = {raw["metadata"]["name"] for raw in listing} | ({current} if compares else set())
    return sorted((raw for raw in revisions if raw["metadata"]["name"] in named), key=_number)


def compared(model: Raw) -> tuple[str, ...]:
    """Names of the artifacts that a ModelDeployment compares, as its status lists them."""
    rows = (model.get("status") or {}).get("compare") or ()
    return tuple(str(one["artifact"]) for one in rows if one.get("artifact"))


def compared_whole(model: Raw, artifacts: Store) -> set[str]:
    """The same with all that they are made of: an importance matrix has no row of its own."""
    namespace = model["metadata"].get("namespace", "")
    waiting, found = list(compared(model)), set[str]()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        spec = (artifacts.get(namespace, name) or {}).get("spec") or {}
        waiting += [spec["parent"]] if spec.get("parent") else []
        waiting += [one["artifact"] for one in spec.get("inputs") or ()]
    return found


def comparing(artifact: Raw, artifacts: Store, models: Store) -> set[str]:
    """Uids of the ModelDeployments that compare an artifact, or what is made of it, whoever owns it."""
    namespace = artifact["metadata"].get("namespace", "")
    waiting, seen = [str(artifact["metadata"]["name"])], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            made = artifacts.find(f"parent:{namespace}/{name}")
            waiting += [str(raw["metadata"]["name"]) for raw in made]
    found = (raw for name in seen for raw in models.find(f"compares:{namespace}/{name}"))
    return {raw["metadata"]["uid"] for raw in found}


def superseded(old: Raw | None, new: Raw | None, artifacts: Store) -> list[Raw]:
    """Artifacts of a ModelDeployment that lists others than before.

    Maybe nobody needs its own now; what another one made may become its own, too.
    """
    if old is None or new is None or new["kind"] != "ModelDeployment" or _listing(old) == _listing(new):
        return []
    namespace = new["metadata"].get("namespace", "")
    beside = (artifacts.get(namespace, name) for name in sorted(compared_whole(new, artifacts)))
    owned = artifacts.find(f"owner:{new['metadata']['uid']}")
    return [*owned, *(raw for raw in beside if raw is not None and raw not in owned)]


def _listing(model: Raw) -> tuple[object, ...]:
    """What its status says of the artifacts that it needs: its revision, what it compares."""
    return ((model.get("status") or {}).get("revision"), *compared(model))


def _number(revision: Raw) -> int:
    return int(revision.get("revision", 0))


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
