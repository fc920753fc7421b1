"""What every step of the ModelDeployment's pass is given.

The observed, the typed spec, the installation, the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from slipway.api import API_VERSION
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.manifests.names import POOL, POOL_OF
from slipway.manifests.owner import Owner
from slipway.manifests.revision import Pinned
from slipway.observe.observed import ModelObserved, Raw, workloads
from slipway.settings import Settings


@dataclass(frozen=True)
class Scene:
    """One pass.

    Attributes:
        spec_hash: of the spec's planning part.
        asked: value of the annotation by which a user wishes another plan, empty for none.
        owner: the ModelDeployment as owner of its children.
    """

    seen: ModelObserved
    spec: ModelDeploymentSpec
    spec_hash: str
    settings: Settings
    now: datetime
    asked: str = ""

    @cached_property
    def owner(self) -> Owner:
        """The ModelDeployment as owner of its children."""
        meta = self.seen.model["metadata"]
        named = (API_VERSION, "ModelDeployment", meta["name"], meta["uid"], meta["namespace"])
        return Owner(*named, _pool_labels(meta))

    def workload(self, kind: str) -> Raw | None:
        """The observed Deployment or LeaderWorkerSet that keeps the engine's pods."""
        found = workloads(self.seen.children, self.owner.name)
        return next((raw for raw in found if raw["kind"] == kind), None)


def _pool_labels(meta: Raw) -> tuple[tuple[str, str], ...]:
    """Labels for the engine's pods of a pool; the label alone makes no pool, its controller does."""
    labels = meta.get("labels") or {}
    owners = (one for one in meta.get("ownerReferences") or () if one.get("controller"))
    if any(one["kind"] == "ModelDeployment" and one["name"] == labels.get(POOL_OF) for one in owners):
        return tuple((key, labels[key]) for key in (POOL, POOL_OF) if key in labels)
    return ()


@dataclass(frozen=True)
class Chosen:
    """The revision of this spec: its name and what it pins."""

    name: str
    pinned: Pinned
