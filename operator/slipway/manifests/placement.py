"""Where pods of a model may run: our images, the plan, the user. Called by deployment, jobs and the pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec, PodOverrides
from slipway.plan.decision import Plan
from slipway.plan.nodes import ARCH_LABEL, ARCHITECTURES, OS, OS_LABEL, accelerator_taints


@dataclass(frozen=True)
class Placement:
    """Where pods may run: selector pairs and raw tolerations."""

    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[dict[str, Any], ...] = ()

    def fields(self, affinity: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As fields of a pod's spec: never on a node that our images are not for; what is empty is absent.

        Args:
            affinity: more of it, by kind.
        """
        selector = dict(self.node_selector)
        found: dict[str, Any] = {"nodeSelector": dict(sorted({**selector, OS_LABEL: OS}.items()))}
        if wished := {**({} if ARCH_LABEL in selector else _built_for()), **(affinity or {})}:
            found["affinity"] = wished
        if self.tolerations:
            found["tolerations"] = [dict(one) for one in self.tolerations]
        return found


def _built_for() -> dict[str, Any]:
    """Node affinity, as a selector has no word for "one of"."""
    known = {"key": ARCH_LABEL, "operator": "In", "values": sorted(ARCHITECTURES)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [known]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def placement(spec: ModelDeploymentSpec, plan: Plan | None) -> Placement:
    """Where engine and Jobs of ``spec`` run: podOverrides, with the plan's node selector beneath them.

    Jobs run where the engine can: the first of them binds the volume to its node or zone.
    """
    overrides = (spec.engine.pod_overrides if spec.engine else None) or PodOverrides()
    selector = {**dict(plan.node_selector if plan else ()), **(overrides.node_selector or {})}
    given = (one.model_dump(by_alias=True, exclude_none=True) for one in overrides.tolerations or ())
    resource = plan.accelerator.resource if plan and plan.accelerator else ""
    own = map(_tolerates, accelerator_taints(resource))
    return Placement(tuple(sorted(selector.items())), (*given, *own))


def _tolerates(taint: str) -> dict[str, Any]:
    key, _, value = taint.partition("=")
    return {"key": key, "operator": "Equal", "value": value} if value else {"key": key, "operator": "Exists"}
