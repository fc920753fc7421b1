"""One pool as a pass sees it: the wish, its ModelDeployment, what dealing needs of both. For ``pools``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from slipway.api import reasons
from slipway.api.modeldeployment import Pool as PoolSpec
from slipway.manifests.pools import pool_model
from slipway.observe.observed import Raw
from slipway.passes import tries
from slipway.passes.scene import Scene
from slipway.plan import deal
from slipway.status import parse_time

STUCK: Final = frozenset({reasons.NOTHING_FITS, reasons.NO_NODES})
"""What the plan of a pool says that has no node for the model."""


@dataclass(frozen=True)
class Seen:
    """One pool: as the user wrote it, its ModelDeployment as observed, and what dealing needs of it."""

    wish: PoolSpec
    model: Raw | None
    pool: deal.Pool

    @property
    def status(self) -> dict[str, Any]:
        """Status of its ModelDeployment; empty while there is none."""
        found: dict[str, Any] = (self.model or {}).get("status") or {}
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition of the present generation; empty when there is none."""
        if (
            self.model is None
            or self.status.get("observedGeneration") != self.model["metadata"]["generation"]
        ):
            return {}
        return next((dict(one) for one in self.status.get("conditions", ()) if one["type"] == kind), {})


def see(scene: Scene, wish: PoolSpec, kept: dict[str, Any], now: datetime) -> Seen:
    """The pool, with what this look adds to the memory that status holds of it."""
    name = pool_model(scene.owner.name, wish.name)
    model = next((raw for raw in scene.seen.pools if raw["metadata"]["name"] == name), None)
    bare = Seen(wish, model, deal.Pool(wish.name))
    price = (bare.status.get("plan") or {}).get("tokenPrice")
    pool = deal.Pool(
        wish.name,
        least=wish.min_replicas or 0,
        most=wish.max_replicas,
        given=int((model or {"spec": {}})["spec"].get("replicas", 0)),
        ready=int(bare.status.get("readyReplicas", 0)),
        stuck=_stuck(scene, bare, name, now),
        nodes=_nodes(scene, wish),
        price=float(price) if price else None,
        memory=_memory(kept),
    )
    return replace(bare, pool=deal.remembered(pool, now))


def _stuck(scene: Scene, one: Seen, name: str, now: datetime) -> str:
    """Why the pool has no room now; empty when it has, as far as is known."""
    planned = one.condition(reasons.PLANNED)
    if planned.get("reason") in STUCK:
        return str(planned["message"])
    for pod in scene.seen.pool_pods.get(name, ()):
        seen = tries.engine_symptoms(pod, now)
        if seen.unschedulable_seconds > deal.PENDING_SECONDS:
            return f"pod {seen.pod} has no node: {seen.unschedulable}"
    return ""


def _nodes(scene: Scene, wish: PoolSpec) -> int:
    """Ready nodes that its selector admits."""
    wanted = (wish.node_selector or {}).items()
    facts = (node.facts for node in scene.seen.nodes)
    return sum(one.ready and wanted <= dict(one.labels).items() for one in facts)


def _memory(kept: dict[str, Any]) -> deal.Memory:
    def time(field: str) -> datetime | None:
        return parse_time(kept[field]) if kept.get(field) else None

    return deal.Memory(
        time("fullSince"),
        time("retryAt"),
        int(kept.get("failures", 0)),
        int(kept.get("held", 0)),
        int(kept.get("nodes", 0)),
        str(kept.get("message", "")),
    )
