"""Whether a Job has ended, whether it counts, and who waits for one; for the cache's index, slots, passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.api import reasons
from slipway.manifests.kueue import QUEUE
from slipway.manifests.names import ARTIFACT
from slipway.observe.observed import Raw


def ended(job: Raw) -> dict[str, Any] | None:
    """The condition by which a Job is finished; None while it is not."""
    for one in job.get("status", {}).get("conditions", ()):
        if one["status"] == "True" and one["type"] in ("Complete", "Failed"):
            return dict(one)
    return None


def counts(job: Raw) -> bool:
    """Whether a Job takes a slot while it is not finished: a stage of an artifact, for no queue of Kueue.

    Inspections and benchmarks, Jobs of a ModelDeployment, are short and small and never wait behind a
    quantisation. What Kueue admits is Kueue's to count: held back here it would not see all that waits, and
    suspended it would keep a slot that nobody uses.
    """
    labels = job["metadata"].get("labels", {})
    return ARTIFACT in labels and QUEUE not in labels


def said(status: Mapping[str, Any] | None) -> str:
    """The reason of Ready in an artifact's status; empty before its first."""
    conditions = (status or {}).get("conditions") or ()
    return next((str(one["reason"]) for one in conditions if one["type"] == reasons.READY), "")


def queued(status: Mapping[str, Any] | None) -> bool:
    """Whether an artifact's status says that it waits for a slot, or for Kueue."""
    return said(status) == reasons.QUEUED
