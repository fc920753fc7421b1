"""Raw objects to what the passes read of them: memory and comparisons stay small.

Called by the reflector alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from slipway.observe.observed import Raw

_META = (
    "name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations", "ownerReferences",
    "creationTimestamp", "deletionTimestamp",
)  # fmt: skip


def _pick(raw: Raw, keys: Iterable[str]) -> Raw:
    return {key: raw[key] for key in keys if key in raw}


def whole(raw: Raw) -> Raw:
    """Everything but bookkeeping: children are compared field by field."""
    return {**raw, "metadata": _pick(raw["metadata"], _META)}


def job(raw: Raw) -> Raw:
    """Metadata, status and whether it is suspended.

    What a Job was asked to do is never compared, Jobs are create-only; Kueue and people suspend them.
    """
    status = _without(raw, "uncountedTerminatedPods")
    spec = _pick(raw.get("spec", {}), ("suspend",))
    return {"metadata": _pick(raw["metadata"], _META), "spec": spec, "status": status}


def _without(raw: Raw, key: str) -> Raw:
    return {name: value for name, value in raw.get("status", {}).items() if name != key}


_CONTAINER_STATUS = ("name", "image", "imageID", "ready", "restartCount", "started", "state", "lastState")
_VOLUME = ("name", "persistentVolumeClaim", "configMap", "secret")
_POD_STATUS = ("phase", "reason", "message", "conditions", "startTime")


def pod(raw: Raw) -> Raw:
    """Metadata, node, volumes, conditions and container states."""
    status = raw.get("status", {})
    kept = _pick(status, _POD_STATUS)
    for key in ("initContainerStatuses", "containerStatuses"):
        if key in status:
            kept[key] = [_pick(one, _CONTAINER_STATUS) for one in status[key]]
    containers = [_pick(one, ("name", "image")) for one in raw.get("spec", {}).get("containers", [])]
    volumes = [_pick(one, _VOLUME) for one in raw.get("spec", {}).get("volumes", [])]
    spec = {**_pick(raw.get("spec", {}), ("nodeName",)), "containers": containers, "volumes": volumes}
    return {"metadata": _pick(raw["metadata"], _META), "spec": spec, "status": kept}


def claim(raw: Raw) -> Raw:
    """Metadata, wished and real size."""
    spec = _pick(raw.get("spec", {}), ("resources", "storageClassName", "volumeName", "accessModes"))
    status = _pick(raw.get("status", {}), ("phase", "capacity"))
    return {"metadata": _pick(raw["metadata"], _META), "spec": spec, "status": status}


def node(raw: Raw) -> Raw:
    """What the planner reads; without heartbeats, so that an idle node changes nothing."""
    status = raw.get("status", {})
    conditions = [_pick(one, ("type", "status")) for one in status.get("conditions", [])]
    return {
        "metadata": _pick(raw["metadata"], ("name", "uid", "resourceVersion", "labels")),
        "spec": _pick(raw.get("spec", {}), ("taints", "unschedulable")),
        "status": {**_pick(status, ("allocatable", "capacity", "nodeInfo")), "conditions": conditions},
    }


def namespace(raw: Raw) -> Raw:
    """Name and labels (which pod security standard is enforced), and whether it is being deleted."""
    kept = ("name", "uid", "resourceVersion", "labels", "deletionTimestamp")
    return {"metadata": _pick(raw["metadata"], kept)}
