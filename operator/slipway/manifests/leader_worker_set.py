"""The LeaderWorkerSet: engine pods of which several, on nodes of their own, are one replica.

Called by serving.
"""

from __future__ import annotations

from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import EngineDef, engine_named, lifecycle
from slipway.manifests import names
from slipway.manifests.deployment import CONTAINER, build_template, rolling
from slipway.manifests.owner import Owner, PublishedArtifact, child
from slipway.plan.capacity import least_replicas
from slipway.plan.decision import Plan
from slipway.resources import LEADER_WORKER_SET
from slipway.settings import Settings

PROBES = ("startupProbe", "readinessProbe", "livenessProbe", "ports")
"""A worker serves nothing: the leader's token needs every pod of the group, so it stands for all."""


def set_name(owner: str) -> str:
    """Name of the LeaderWorkerSet of ModelDeployment ``owner``.

    Not the owner's own: its controller wants a headless Service of the set's name, by which pods of a group
    find each other, and the owner's name is that of the Service that callers use.
    """
    return f"{owner}-nodes"


def build_leader_worker_set(
    owner: Owner,
    spec: ModelDeploymentSpec,
    plan: Plan,
    artifact: PublishedArtifact,
    settings: Settings,
    revision: str,
) -> dict[str, Any]:
    """The LeaderWorkerSet; leaders bear the labels of engine pods, so Service and budget see them alone.

    Without ``replicas`` while autoscaling is set. A group whose pod restarts is made anew as a whole: engines
    across nodes don't take a lost rank back.
    """
    leader = build_template(owner, spec, plan, artifact, settings)
    own = names.labels(plan.engine, names.ENGINE_COMPONENT, model=owner.name, artifact=artifact.name)
    body: dict[str, Any] = {
        "startupPolicy": "LeaderCreated",
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": rolling(plan.surges(least_replicas(spec))),
        },
        "leaderWorkerTemplate": {
            "size": plan.parallel.pods,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": leader,
            "workerTemplate": _worker(leader, engine_named(settings, plan.engine)),
        },
    }
    if spec.autoscaling is None:
        body["replicas"] = spec.replicas
    marks = {names.REVISION: revision}
    return {
        **child(owner, LEADER_WORKER_SET, own, name=set_name(owner.name), annotations=marks),
        "spec": body,
    }


def _worker(leader: dict[str, Any], engine: EngineDef) -> dict[str, Any]:
    """The leader's pod without what serves: no probes, no scraping, no Service."""
    meta, spec = leader["metadata"], leader["spec"]
    kept = {key: value for key, value in meta["annotations"].items() if not key.startswith("prometheus.io/")}
    follow = lifecycle.follow(engine.port, engine.health)
    containers = [
        {
            **{key: value for key, value in one.items() if key not in PROBES},
            "lifecycle": {"preStop": {"exec": {"command": list(follow)}}},
        }
        if one["name"] == CONTAINER
        else one
        for one in spec["containers"]
    ]
    labels = {**meta["labels"], names.COMPONENT: names.WORKER_COMPONENT}
    # Workers stand where their leader does not: what spreads leaders has no word for them.
    fields = {key: value for key, value in spec.items() if key != "topologySpreadConstraints"}
    return {
        "metadata": {"labels": labels, "annotations": kept},
        "spec": {**fields, "containers": containers},
    }
