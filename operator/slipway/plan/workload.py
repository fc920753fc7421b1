"""What an object that keeps engine pods says of them: a Deployment or a LeaderWorkerSet, read alike.

Pure; called by observe, passes and checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

KINDS: Final = ("Deployment", "LeaderWorkerSet")
"""Kinds that keep a model's engine pods."""
_PODS: Final[Mapping[str, str]] = {"Deployment": "template", "LeaderWorkerSet": "leaderWorkerTemplate"}

Raw = Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """Replicas of a workload; one of a LeaderWorkerSet is a group of pods.

    Attributes:
        wished: by its spec.
        existing: of any revision.
        updated: of the present one.
        available: that answer.
        heard: its controller has seen the present spec.
    """

    wished: int = 1
    existing: int = 0
    updated: int = 0
    available: int = 0
    heard: bool = True


def counts(raw: Raw | None) -> Counts:
    """Of the workload as observed; zeros when there is none."""
    if raw is None:
        return Counts()
    status = raw.get("status") or {}
    # A group counts as ready when all its pods are; there is no second count that waits for minReadySeconds.
    answering = "availableReplicas" if raw["kind"] == "Deployment" else "readyReplicas"
    # LeaderWorkerSet before 0.7 has no observedGeneration.
    heard = "observedGeneration" not in status and raw["kind"] != "Deployment" and bool(status)
    seen = int(status.get("observedGeneration", 0)) >= int(raw["metadata"].get("generation", 0))
    return Counts(
        wished=int(raw["spec"].get("replicas", 1)),
        existing=int(status.get("replicas", 0)),
        updated=int(status.get("updatedReplicas", 0)),
        available=int(status.get(answering, 0)),
        heard=heard or seen,
    )


def pods(raw: Raw) -> dict[str, Any]:
    """What its pods are made of: the template, or the group's."""
    found: dict[str, Any] = raw["spec"].get(_PODS[raw["kind"]]) or {}
    return found


def template(raw: Raw | None) -> dict[str, Any]:
    """Template of the pods that answer: of a group, the leader's."""
    if raw is None:
        return {}
    found = pods(raw)
    lead: dict[str, Any] = found.get("leaderTemplate") or {} if raw["kind"] == "LeaderWorkerSet" else found
    return lead


def with_pods_of(wished: dict[str, Any], observed: Raw) -> dict[str, Any]:
    """``wished`` with the pods of ``observed``, of the same kind."""
    return {**wished, "spec": {**wished["spec"], _PODS[wished["kind"]]: pods(observed)}}


def as_deployment(raw: Raw) -> dict[str, Any]:
    """A LeaderWorkerSet in the shape of a Deployment, under its own name and kind; a Deployment as it is."""
    if raw["kind"] == "Deployment":
        return dict(raw)
    status = raw.get("status") or {}
    spec = {key: value for key, value in raw["spec"].items() if key == "replicas"}
    return {
        **raw,
        "spec": {**spec, "template": template(raw)},
        "status": {**status, "availableReplicas": status.get("readyReplicas", 0)},
    }
