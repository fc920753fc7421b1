"""The HorizontalPodAutoscaler (autoscaling/v2). Called by serving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.api.modeldeployment import Autoscaling
from slipway.manifests import names
from slipway.manifests.owner import Owner, child
from slipway.resources import AUTOSCALER

DEFAULT_CPU_PERCENT = 80
"""Of the requested CPU, as in ``kubectl explain mdl.spec.autoscaling.target``."""


def build_autoscaler(
    owner: Owner, autoscaling: Autoscaling, engine: str, workload: Mapping[str, Any]
) -> dict[str, Any]:
    """The autoscaler of the workload (a Deployment or LeaderWorkerSet), by CPU of the pods that answer."""
    target = autoscaling.target.cpu_utilization if autoscaling.target else None
    utilization = {"type": "Utilization", "averageUtilization": target or DEFAULT_CPU_PERCENT}
    return {
        **child(owner, AUTOSCALER, names.labels(engine, names.ENGINE_COMPONENT, model=owner.name)),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": workload["apiVersion"],
                "kind": workload["kind"],
                "name": workload["metadata"]["name"],
            },
            "minReplicas": autoscaling.min_replicas or 1,
            "maxReplicas": autoscaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
        },
    }
