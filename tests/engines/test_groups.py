"""A replica of two nodes: the real LeaderWorkerSet controller and scheduler, machines that are not there."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api import API_VERSION
from slipway.engines import ENGINES, decide
from slipway.manifests.leader_worker_set import set_name
from slipway.manifests.owner import Owner, PublishedArtifact
from slipway.manifests.places import Place
from slipway.manifests.serving import build_serving
from slipway.plan.nodes import node_facts
from slipway.plan.workload import counts
from slipway.settings import Settings
from tests.cluster.namespaces import Cluster
from tests.support.gpu_nodes import gpu_node
from tests.support.kwok import fake_nodes
from tests.support.planning import MODELS, spec

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
ABLE = [name for name, one in ENGINES.items() if "multi-node" in one.facts.capabilities]
KEPT = ("LeaderWorkerSet", "Service", "NetworkPolicy", "PodDisruptionBudget")


def rendered(engine: str, namespace: str, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What serves, as the operator would apply it, its volume replaced: these machines have no disk."""
    wish = spec(engine={"name": engine, "pipelineParallel": 2}, store={"accessMode": "ReadWriteMany"})
    plan = decide(wish, MODELS["llama3-8b"], list(map(node_facts, nodes)), Settings())
    assert plan.parallel.pods == 2
    owner = Owner(API_VERSION, "ModelDeployment", "big", "0", namespace)
    artifact = PublishedArtifact("art", Place(claim="claim"), "sha256:0", plan.level)
    made = [
        one for one in build_serving(owner, wish, plan, artifact, Settings(), "r1") if one["kind"] in KEPT
    ]
    for one in made:
        one["metadata"].pop("ownerReferences")
        for template in one["spec"].get("leaderWorkerTemplate", {}).values():
            if isinstance(template, dict):
                volumes = template["spec"]["volumes"]
                volumes[:] = [{"name": volumes[0]["name"], "emptyDir": {}}, *volumes[1:]]
    return made


@pytest.mark.parametrize("engine", ABLE)
@pytest.mark.timeout(400)
def test_a_replica_fills_two_machines(engine: str, home: Cluster, lws: None, fake_kubelet: None) -> None:
    level = "pod-security.kubernetes.io/enforce=restricted"
    home.kubectl("label", "namespace", home.namespace, level, "--overwrite", namespaced=False)
    machines = [gpu_node("l4", f"group-{letter}") for letter in "ab"]
    with fake_nodes(*machines) as names:
        home.apply(*rendered(engine, home.namespace, machines))
        try:

            def there() -> bool:
                return counts(home.get("leaderworkersets", set_name("big"))).available == 1

            home.wait("the group", there, 120)
            pods = home.list("pods", "slipway.dev/model=big")
            assert sorted(pod["spec"]["nodeName"] for pod in pods) == names
            given = [
                {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]} for pod in pods
            ]
            leader = f"big-nodes-0.big-nodes.{home.namespace}"
            assert {one["LWS_LEADER_ADDRESS"] for one in given} == {leader}
            assert sorted(str(one["LWS_WORKER_INDEX"]) for one in given) == ["0", "1"]
            slices = home.list("endpointslices", "kubernetes.io/service-name=big")
            behind = [one["targetRef"]["name"] for item in slices for one in item.get("endpoints") or ()]
            assert behind == ["big-nodes-0"]
        finally:
            home.kubectl("delete", "lws", set_name("big"), "--cascade=foreground", "--timeout=90s")
            home.wait("the pods' end", lambda: home.list("pods") == [], 60)
