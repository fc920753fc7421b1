"""Where pods of a model may run: our images, the plan, the user. Called by deployment, jobs and the pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec, PodOverrides
from slipway.plan.capacity import spreads
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


def placement(spec: ModelDeploymentSpec, plan: Plan) -> Placement:
    """Where the engine of ``spec`` runs: podOverrides and its own selector, with the plan's beneath them."""
    everywhere = job_placement(spec)
    own = (spec.engine.node_selector if spec.engine else None) or {}
    selector = {**dict(plan.node_selector), **dict(everywhere.node_selector), **own}
    resource = plan.accelerator.resource if plan.accelerator else ""
    tolerated = map(_tolerates, accelerator_taints(resource))
    return Placement(tuple(sorted(selector.items())), (*everywhere.tolerations, *tolerated))


def job_placement(spec: ModelDeploymentSpec, plan: Plan | None = None) -> Placement:
    """Where Jobs of ``spec`` run.

    With a plan, where the engine can: the first of them binds the volume to its node or zone. Where every
    node reads the volume, anywhere that podOverrides admits: no device waits for a download.
    """
    if plan is not None and not spreads(spec):
        return placement(spec, plan)
    overrides = (spec.engine.pod_overrides if spec.engine else None) or PodOverrides()
    given = (one.model_dump(by_alias=True, exclude_none=True) for one in overrides.tolerations or ())
    return Placement(tuple(sorted((overrides.node_selector or {}).items())), tuple(given))


def _tolerates(taint: str) -> dict[str, Any]:
    key, _, value = taint.partition("=")
    return {"key": key, "operator": "Equal", "value": value} if value else {"key": key, "operator": "Exists"}
