"""What every step of the ModelDeployment's pass is given.

The observed, the typed spec, the installation, the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from slipway.api import API_VERSION
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.manifests.owner import Owner
from slipway.manifests.revision import Pinned
from slipway.observe.observed import ModelObserved, Raw
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

    @property
    def owner(self) -> Owner:
        """The ModelDeployment as owner of its children."""
        meta = self.seen.model["metadata"]
        return Owner(API_VERSION, "ModelDeployment", meta["name"], meta["uid"], meta["namespace"])

    def child(self, kind: str) -> Raw | None:
        """The observed child of this kind that bears our name."""
        for raw in self.seen.children:
            if raw["kind"] == kind and raw["metadata"]["name"] == self.owner.name:
                return raw
        return None


@dataclass(frozen=True)
class Chosen:
    """The revision of this spec: its name and what it pins."""

    name: str
    pinned: Pinned
