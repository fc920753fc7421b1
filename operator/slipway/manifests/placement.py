"""Where pods of a model may run: the plan, then the user. Called by deployment, jobs and the pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec, PodOverrides
from slipway.plan.decision import Plan


@dataclass(frozen=True)
class Placement:
    """Where pods may run: selector pairs and raw tolerations."""

    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[dict[str, Any], ...] = ()

    def fields(self) -> dict[str, Any]:
        """As fields of a pod's spec; what is empty is absent."""
        found: dict[str, Any] = {}
        if self.node_selector:
            found["nodeSelector"] = dict(self.node_selector)
        if self.tolerations:
            found["tolerations"] = [dict(one) for one in self.tolerations]
        return found


def placement(spec: ModelDeploymentSpec, plan: Plan | None) -> Placement:
    """Where engine and Jobs of ``spec`` run: podOverrides, with the plan's node selector beneath them.

    Jobs run where the engine can: the first of them binds the volume to its node or zone.
    """
    overrides = (spec.engine.pod_overrides if spec.engine else None) or PodOverrides()
    selector = {**dict(plan.node_selector if plan else ()), **(overrides.node_selector or {})}
    return Placement(
        tuple(sorted(selector.items())),
        tuple(one.model_dump(by_alias=True, exclude_none=True) for one in overrides.tolerations or ()),
    )
