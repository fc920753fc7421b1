"""Kueue's labels, from a ModelDeployment to its Jobs; for the passes.

Kueue decides when such a Job runs: it is created suspended, and only Kueue lets it go (and suspends it again
for one of higher priority). Its partial admission is for Jobs of several pods, and ours have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

QUEUE: Final = "kueue.x-k8s.io/queue-name"
PRIORITY: Final = "kueue.x-k8s.io/priority-class"
"""A WorkloadPriorityClass: order and preemption inside Kueue, apart from the pods' own priority."""


def labels_of(raw: Mapping[str, Any]) -> dict[str, str]:
    """Kueue's labels on an object; an empty value is none."""
    held = raw["metadata"].get("labels") or {}
    return {key: held[key] for key in (QUEUE, PRIORITY) if held.get(key)}


def queued(job: dict[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """The Job with Kueue's labels, suspended when it is for one of its queues.

    Kueue's webhook suspends it, too; but a webhook that is not there yet would let it run past the queue.
    """
    if not labels:
        return job
    meta = {**job["metadata"], "labels": {**job["metadata"].get("labels", {}), **labels}}
    spec = {**job["spec"], "suspend": True} if QUEUE in labels else job["spec"]
    return {**job, "metadata": meta, "spec": spec}
