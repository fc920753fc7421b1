"""Which kinds are watched, how they are trimmed and under what they are found.

One table, read by the observer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from slipway import resources
from slipway.observe import trim, users
from slipway.observe.job_states import counts, ended, queued
from slipway.observe.observed import Raw
from slipway.resources import Resource

OURS_LABELS: Final = MappingProxyType({"app.kubernetes.io/managed-by": "slipway"})
OURS: Final = ",".join(f"{key}={value}" for key, value in OURS_LABELS.items())
"""Label selector of every child: an operator in a big cluster must not hold everybody's pods."""
MODEL_LABEL: Final = "slipway.dev/model"
ARTIFACT_LABEL: Final = "slipway.dev/artifact"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
ENGINE: Final = frozenset({"engine", "engine-worker"})
"""Components of the pods that a replica is made of."""
JOB_LABEL: Final = "batch.kubernetes.io/job-name"


@dataclass(frozen=True)
class Watched:
    """One kind.

    Attributes:
        selector: label selector, empty for none.
        index: entries under which an object is found.
        optional: the cluster may not know the kind; then there are no objects of it.
    """

    resource: Resource
    selector: str
    trim: Callable[[Raw], Raw]
    index: Callable[[Raw], Iterable[str]]
    optional: bool = False


def owners(raw: Raw) -> list[str]:
    """Index by owner: ``owner:<uid>``."""
    return [f"owner:{ref['uid']}" for ref in raw["metadata"].get("ownerReferences", ())]


def inputs_of(artifact: Raw, get: Callable[[str, str], Raw | None]) -> dict[str, Raw]:
    """Artifacts that one is made of beside its parent, by its method's names for them; those that exist."""
    namespace = artifact["metadata"]["namespace"]
    found = {one["name"]: get(namespace, one["artifact"]) for one in artifact["spec"].get("inputs") or ()}
    return {name: raw for name, raw in found.items() if raw is not None}


def _artifact(raw: Raw) -> list[str]:
    spec, namespace = raw.get("spec", {}), raw["metadata"]["namespace"]
    names = [spec.get("parent"), *(one["artifact"] for one in spec.get("inputs") or ())]
    above = [f"parent:{namespace}/{name}" for name in names if name]
    waits = ["queued"] if queued(raw.get("status")) else []
    return owners(raw) + above + waits


def _job(raw: Raw) -> list[str]:
    if not counts(raw):
        return owners(raw)
    unfinished = [] if ended(raw) else ["unfinished"]
    return [*owners(raw), f"counts:{raw['metadata']['namespace']}", *unfinished]


def _pod(raw: Raw) -> list[str]:
    meta = raw["metadata"]
    labels = meta.get("labels", {})
    volumes = raw.get("spec", {}).get("volumes", ())
    claims = [one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one]
    found = [f"claim:{meta['namespace']}/{name}" for name in claims]
    if JOB_LABEL in labels:
        return [*found, f"job:{meta['namespace']}/{labels[JOB_LABEL]}"]
    return [*found, f"model:{meta['namespace']}/{labels[MODEL_LABEL]}"] if MODEL_LABEL in labels else found


def listed_artifacts(raw: Raw) -> list[str]:
    """Names of the artifacts that a ControllerRevision of ours lists."""
    data = raw.get("data") or {}
    names = list(data.get("artifacts") or ())
    names += [name for one in data.get("companions") or () for name in one.get("artifacts") or ()]
    return [str(name) for name in dict.fromkeys(names)]


def _revision(raw: Raw) -> list[str]:
    namespace = raw["metadata"]["namespace"]
    source = (raw.get("data") or {}).get("source") or {}
    pinned = f"source:{namespace}/{source.get('uri')}@{source.get('commit')}"
    return [*owners(raw), pinned, *(f"artifact:{namespace}/{name}" for name in listed_artifacts(raw))]


def _uid(raw: Raw) -> tuple[str]:
    return (f"uid:{raw['metadata']['uid']}",)


def _model(raw: Raw) -> list[str]:
    namespace = raw["metadata"].get("namespace", "")
    compared = (f"compares:{namespace}/{name}" for name in users.compared(raw))
    return [*_uid(raw), *owners(raw), *compared]


def _none(_: Raw) -> tuple[str, ...]:
    return ()


WATCHED: Final = (
    Watched(resources.MODEL, "", trim.whole, _model),
    Watched(resources.ARTIFACT, "", trim.whole, _artifact),
    Watched(resources.REVISION, OURS, trim.whole, _revision),
    Watched(resources.JOB, OURS, trim.job, _job),
    Watched(resources.POD, OURS, trim.pod, _pod),
    Watched(resources.CLAIM, OURS, trim.claim, owners),
    Watched(resources.DEPLOYMENT, OURS, trim.whole, owners),
    Watched(resources.LEADER_WORKER_SET, OURS, trim.whole, owners, optional=True),
    Watched(resources.SERVICE, OURS, trim.whole, owners),
    Watched(resources.AUTOSCALER, OURS, trim.whole, owners),
    Watched(resources.BUDGET, OURS, trim.whole, owners),
    Watched(resources.NETWORK_POLICY, OURS, trim.whole, owners),
    Watched(resources.NODE, "", trim.node, _none),
    Watched(resources.NAMESPACE, "", trim.namespace, _none),
    Watched(resources.ENGINE, "", trim.whole, _none, optional=True),
)
"""Nodes, Namespaces and ServingEngines are cluster-wide; the rest lives in the watched namespaces."""
