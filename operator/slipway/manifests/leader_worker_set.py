"""The LeaderWorkerSet: engine pods of which several, on nodes of their own, are one replica.

Called by serving.
"""

from __future__ import annotations

from typing import Any

from slipway.engines import EngineDef, lifecycle
from slipway.manifests import names
from slipway.manifests.deployment import CONTAINER, Serving, build_template
from slipway.resources import LEADER_WORKER_SET

PROBES = ("startupProbe", "readinessProbe", "livenessProbe", "ports")
"""A worker serves nothing: the leader's token needs every pod of the group, so it stands for all."""


def set_name(owner: str) -> str:
    """Name of the LeaderWorkerSet of ModelDeployment ``owner``.

    Not the owner's own: its controller wants a headless Service of the set's name, by which pods of a group
    find each other, and the owner's name is that of the Service that callers use.
    """
    return f"{owner}-nodes"


def build_leader_worker_set(served: Serving) -> dict[str, Any]:
    """The LeaderWorkerSet; leaders bear the labels of engine pods, so the Service sees them alone.

    A group whose pod restarts is made anew as a whole: engines across nodes don't take a lost rank back.
    """
    leader = build_template(served)
    body: dict[str, Any] = {
        "startupPolicy": "LeaderCreated",
        "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": served.rolling},
        "leaderWorkerTemplate": {
            "size": served.plan.parallel.pods,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": leader,
            "workerTemplate": _worker(leader, served.engine),
        },
    }
    return served.workload(LEADER_WORKER_SET, body, set_name(served.owner.name))


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
