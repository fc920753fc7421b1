"""The wished Deployment and the one that runs: whether they agree, and how an update finds room.

A step of the ModelDeployment's pass.
"""

from __future__ import annotations

from collections.abc import Iterable

from slipway import drift
from slipway.manifests import held
from slipway.observe.observed import Raw
from slipway.plan.rollout import needs_room
from slipway.plan.symptoms import Symptoms


def settled(wished: Raw, observed: Raw | None) -> bool:
    """Whether applying ``wished`` would change nothing: it is there, or as far as admission lets it be."""
    desired = drift.stamped(wished)
    return drift.settled(desired, observed) or held.overruled(desired, observed)


def makes_room(observed: Raw | None, waiting: Iterable[Symptoms], *, spreads: bool) -> bool:
    """Whether the update under way has to stop an old pod first, from when that is seen to its end.

    Args:
        observed: the Deployment.
        waiting: pods of the model that are not well.
        spreads: nodes can share the volume.
    """
    if observed is None or spreads:
        return False
    status = observed.get("status") or {}
    updating = int(status.get("updatedReplicas", 0)) < int(status.get("replicas", 0))
    strategy = observed["spec"].get("strategy") or {}
    begun = (strategy.get("rollingUpdate") or {}).get("maxSurge") == 0
    return updating and (begun or any(map(needs_room, waiting)))
