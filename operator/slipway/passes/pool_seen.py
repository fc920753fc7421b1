"""One pool as a pass sees it: the wish, its ModelDeployment, what dealing needs of both. For ``pools``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from slipway.plan.rollout import lacks_volume
from slipway.plan.symptoms import Symptoms
from slipway.status import parse_time

GROUP_INDEX: Final = "leaderworkerset.sigs.k8s.io/group-index"
TEMPLATES: Final = ("pod-template-hash", "leaderworkerset.sigs.k8s.io/template-revision-hash")
"""Labels of pods that tell one revision of their template from another."""
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

    def condition(self, kind: str, *, current: bool = False) -> dict[str, Any]:
        """What it says last, of the present generation alone with ``current``; empty when it said nothing."""
        seen = self.status.get("observedGeneration")
        if self.model is None or (current and seen != self.model["metadata"]["generation"]):
            return {}
        return next((dict(one) for one in self.status.get("conditions", ()) if one["type"] == kind), {})


def see(scene: Scene, wish: PoolSpec, kept: dict[str, Any], now: datetime) -> Seen:
    """The pool, with what this look adds to the memory that status holds of it."""
    name = pool_model(scene.owner.name, wish.name)
    model = next((raw for raw in scene.seen.pools if raw["metadata"]["name"] == name), None)
    bare = Seen(wish, model, deal.Pool(wish.name))
    price = (bare.status.get("plan") or {}).get("tokenPrice")
    given = int((model or {"spec": {}})["spec"].get("replicas", 0))
    pods = _Pods.of(scene.seen.pool_pods.get(name, ()), now)
    pool = deal.Pool(
        wish.name,
        least=wish.min_replicas or 0,
        most=wish.max_replicas,
        given=given,
        ready=int(bare.status.get("readyReplicas", 0)),
        placed=min(given, pods.placed),
        stuck=_stuck(bare, given, pods),
        nodes=_nodes(scene, wish),
        price=float(price) if price else None,
        memory=_memory(kept),
    )
    return replace(bare, pool=deal.remembered(pool, now))


@dataclass(frozen=True)
class _Pods:
    """Engine pods of a pool; those of one replica of several nodes count as one.

    Attributes:
        placed: replicas whose pods all have a node, or are not known to have none.
        waits: why one has waited too long for its node or volume; empty when none has.
        rolling: an update is under way, which may wait for its own old pods.
    """

    placed: int
    waits: str
    rolling: bool

    @staticmethod
    def of(pods: Sequence[Raw], now: datetime) -> _Pods:
        living = tries.living(pods)
        seen = [(_replica(pod), tries.engine_symptoms(pod, now)) for pod in living]
        homeless = {replica for replica, one in seen if one.unschedulable or _waits(one)}
        waits = next((text for _, one in seen if (text := _waits(one))), "")
        templates = {label for pod in living for label in map(_label(pod), TEMPLATES) if label}
        return _Pods(len({replica for replica, _ in seen} - homeless), waits, len(templates) > 1)


def _waits(seen: Symptoms) -> str:
    if seen.unschedulable_seconds > deal.PENDING_SECONDS:
        return f"pod {seen.pod} has no node: {seen.unschedulable}"
    stays = lacks_volume(seen, deal.PENDING_SECONDS)
    return f"pod {seen.pod} does not get its volume on its node" if stays else ""


def _label(pod: Raw) -> Callable[[str], str]:
    return lambda key: str(pod["metadata"].get("labels", {}).get(key, ""))


def _replica(pod: Raw) -> str:
    return _label(pod)(GROUP_INDEX) or str(pod["metadata"]["name"])


def _stuck(one: Seen, given: int, pods: _Pods) -> str:
    """Why the pool has no room now; empty when it has, as far as is known."""
    planned = one.condition(reasons.PLANNED, current=True)
    if planned.get("reason") in STUCK:
        return str(planned["message"])
    return pods.waits if pods.placed < given and not pods.rolling else ""


def _nodes(scene: Scene, wish: PoolSpec) -> int:
    """Size of the ready nodes that its selector admits: themselves and their devices."""
    wanted = (wish.node_selector or {}).items()
    facts = (node.facts for node in scene.seen.nodes)
    admitted = (one for one in facts if one.ready and wanted <= dict(one.labels).items())
    return sum(1 + sum(gpu.count for gpu in one.gpus) for one in admitted)


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
