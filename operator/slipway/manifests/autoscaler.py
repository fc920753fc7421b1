"""The HorizontalPodAutoscaler (autoscaling/v2). Called by serving."""

from __future__ import annotations

from typing import Any

from slipway.api.modeldeployment import Autoscaling
from slipway.manifests import names
from slipway.manifests.owner import Owner, child
from slipway.resources import AUTOSCALER

DEFAULT_CPU_PERCENT = 80
"""Of the requested CPU, as in ``kubectl explain mdl.spec.autoscaling.target``."""


def build_autoscaler(owner: Owner, autoscaling: Autoscaling, engine: str) -> dict[str, Any]:
    """The autoscaler of the Deployment of the same name, by CPU."""
    target = autoscaling.target.cpu_utilization if autoscaling.target else None
    utilization = {"type": "Utilization", "averageUtilization": target or DEFAULT_CPU_PERCENT}
    return {
        **child(owner, AUTOSCALER, names.labels(engine, names.ENGINE_COMPONENT, model=owner.name)),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner.name},
            "minReplicas": autoscaling.min_replicas or 1,
            "maxReplicas": autoscaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
        },
    }
