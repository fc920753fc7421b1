"""The PodDisruptionBudget: drains go one pod at a time, never held up by a broken one. Called by serving."""

from __future__ import annotations

from typing import Any

from slipway.manifests import names
from slipway.manifests.deployment import selector
from slipway.manifests.owner import Owner, child
from slipway.resources import BUDGET


def build_budget(owner: Owner, engine: str, *, group: bool = False) -> dict[str, Any]:
    """The budget of the engine's pods, named as its owner.

    With ``group`` of workers too: one that goes takes its whole replica with it.
    """
    components = [names.ENGINE_COMPONENT, names.WORKER_COMPONENT]
    either = {"key": names.COMPONENT, "operator": "In", "values": components}
    both = {"matchLabels": {names.MODEL: owner.name}, "matchExpressions": [either]}
    return {
        **child(owner, BUDGET, names.labels(engine, names.ENGINE_COMPONENT, model=owner.name)),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": both if group else {"matchLabels": selector(owner.name)},
        },
    }
