"""Whether an artifact's claim is there, its own and empty of surprises; for the artifact's pass alone.

Content in ``status`` belongs to one claim: with another one, everything is made anew.
"""

from __future__ import annotations

from typing import Final

from slipway.api import API_VERSION, reasons
from slipway.errors import InvalidSpecError
from slipway.manifests import claims
from slipway.manifests.owner import Owner
from slipway.observe.observed import ArtifactObserved, Raw
from slipway.passes import tries
from slipway.passes.outcome import Draft
from slipway.settings import Settings

LOOK_SECONDS: Final = 15.0
"""How often a claim that has to go is looked at: pods that let it go are not always our events."""
NAMED: Final = 5
"""Pods that a message names."""
_CONTENT: Final = ("completed", "digest", "sizeBytes", "location", "quality", "qualityUnknown", "chainLoss")
"""Status fields that say what lies in the claim."""


def forgotten(seen: ArtifactObserved, draft: Draft) -> bool:
    """Whether status told of a claim that is lost, and does no longer.

    The status is written before another claim is asked for: an empty claim must never be called ready,
    not even when the operator dies between the two writes.
    """
    if _own(seen) or not set(draft.fields.get("completed") or ()) - {"recall"}:
        return False
    location = draft.fields.get("location") or {}
    if kept := {key: value for key, value in location.items() if key in ("image", "uri", "revision")}:
        draft.fields["location"] = kept  # what pods read is elsewhere, and whole
        return False
    for key in _CONTENT:
        draft.fields.pop(key, None)
    drop_stale_jobs(seen, draft)
    name = seen.artifact["metadata"]["name"]
    draft.fails(reasons.READY, reasons.BUILDING, f"PersistentVolumeClaim {name} is lost: it is built anew")
    draft.look_again(1.0)
    return True


def prepared(seen: ArtifactObserved, settings: Settings, draft: Draft) -> bool:
    """Whether the claim is there, its own, and no Job of another claim is left; else it is seen to."""
    stale = drop_stale_jobs(seen, draft)
    name = seen.artifact["metadata"]["name"]
    if seen.claim is None:
        try:
            draft.create.append(claims.build_claim(_owner(seen.artifact), seen.artifact, settings))
        except InvalidSpecError as error:
            draft.fails(reasons.READY, error.reason, error.message)
            draft.progressing(state=False, reason=error.reason, message=error.message)
            return False
        draft.fails(reasons.READY, reasons.BUILDING, f"PersistentVolumeClaim {name} is being made")
        return False
    if not _own(seen):
        draft.delete += [job for job in seen.holding if "deletionTimestamp" not in job["metadata"]]
        draft.fails(reasons.READY, reasons.WAITING_FOR_CLAIM, _in_the_way(seen, name))
        draft.look_again(LOOK_SECONDS)
        return False
    if stale:
        draft.fails(reasons.READY, reasons.BUILDING, "Jobs of an earlier claim are being deleted")
        draft.look_again(1.0)
    return not stale


def drop_stale_jobs(seen: ArtifactObserved, draft: Draft) -> bool:
    """Ask to delete the Jobs that worked on another claim; whether there are any."""
    uid = seen.claim["metadata"]["uid"] if seen.claim and _own(seen) else ""
    stale = [
        one.job
        for one in seen.jobs
        if not uid or one.job["metadata"].get("annotations", {}).get(tries.CLAIM) != uid
    ]
    draft.delete += [job for job in stale if "deletionTimestamp" not in job["metadata"]]
    return bool(stale)


def _own(seen: ArtifactObserved) -> bool:
    """Whether the claim is there, stays, and was made for this very artifact."""
    if seen.claim is None or "deletionTimestamp" in seen.claim["metadata"]:
        return False
    owners = seen.claim["metadata"].get("ownerReferences", ())
    return any(ref["uid"] == seen.artifact["metadata"]["uid"] for ref in owners)


def _in_the_way(seen: ArtifactObserved, name: str) -> str:
    pods = sorted(str(pod["metadata"]["name"]) for pod in seen.holders)
    if not pods:
        return (
            f"PersistentVolumeClaim {name} is being deleted or belongs to something else; "
            "it is made anew as soon as it is gone"
        )
    more = f" and {len(pods) - NAMED} more" if len(pods) > NAMED else ""
    return (
        f"PersistentVolumeClaim {name} has to go first and is held by pods {', '.join(pods[:NAMED])}{more}; "
        "it is made anew as soon as they are gone: delete them, or scale their ModelDeployment to 0"
    )


def _owner(raw: Raw) -> Owner:
    meta = raw["metadata"]
    return Owner(API_VERSION, raw["kind"], meta["name"], meta["uid"], meta["namespace"])
