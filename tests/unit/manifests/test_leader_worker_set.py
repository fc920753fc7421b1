"""Replicas of several nodes: the LeaderWorkerSet and what it stands beside."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.checks.lookup import selects
from slipway.engines import decide
from slipway.manifests.leader_worker_set import set_name
from slipway.manifests.owner import Owner, PublishedArtifact
from slipway.manifests.serving import build_serving
from slipway.plan.nodes import node_facts
from slipway.settings import Settings
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import MODELS, spec

ENGINE = {"name": "vllm", "pipelineParallel": 2}
STORE = {"accessMode": "ReadWriteMany"}


@pytest.fixture
def build(owner: Owner, published: PublishedArtifact) -> Any:
    nodes = [node_facts(gpu_node("l4", name)) for name in ("a", "b", "c", "d", "e", "f")]

    def built(engine: str = "vllm", **fields: Any) -> dict[tuple[str, str], dict[str, Any]]:
        wish = spec(**{"engine": {**ENGINE, "name": engine}, "store": STORE, **fields})
        plan = decide(wish, MODELS["llama3-8b"], nodes, Settings())
        assert plan.parallel.pods == 2
        found = build_serving(owner, wish, plan, published, Settings(), "chat-0123456789")
        return {(one["kind"], one["metadata"]["name"]): one for one in found}

    return built


def group(children: Any) -> dict[str, Any]:
    found: dict[str, Any] = children["LeaderWorkerSet", set_name("chat")]
    return found


def test_a_group_takes_the_place_of_the_deployment(build: Any) -> None:
    children = build(replicas=2)
    assert "Deployment" not in {kind for kind, _ in children}
    body = group(children)["spec"]
    assert (body["replicas"], body["leaderWorkerTemplate"]["size"]) == (2, 2)
    rolling = body["rolloutStrategy"]["rollingUpdateConfiguration"]
    assert rolling == {"maxSurge": 1, "maxUnavailable": 0}
    assert group(children)["metadata"]["annotations"]["slipway.dev/revision"] == "chat-0123456789"


def test_an_update_without_room_for_one_more_group_stops_one_first(build: Any) -> None:
    rolling = group(build(replicas=3))["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_leaders_answer_and_workers_follow(build: Any, engine: str) -> None:
    children = build(engine)
    pods = group(children)["spec"]["leaderWorkerTemplate"]
    leader, worker = pods["leaderTemplate"], pods["workerTemplate"]
    selected = children["Service", "chat"]["spec"]["selector"]
    assert selected.items() <= leader["metadata"]["labels"].items()
    assert not selected.items() <= worker["metadata"]["labels"].items()
    (lead,), (follow,) = leader["spec"]["containers"], worker["spec"]["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe", "ports"} <= lead.keys()
    assert not {"startupProbe", "readinessProbe", "livenessProbe", "ports"} & follow.keys()
    same = ("image", "command", "args", "env", "resources", "volumeMounts", "securityContext")
    assert [lead[part] for part in same] == [follow[part] for part in same]
    assert "LWS_LEADER_ADDRESS" in follow["lifecycle"]["preStop"]["exec"]["command"][2]
    assert not [key for key in worker["metadata"]["annotations"] if "prometheus" in key]
    assert leader["spec"]["terminationGracePeriodSeconds"] == worker["spec"]["terminationGracePeriodSeconds"]
    assert "topologySpreadConstraints" not in worker["spec"]


def test_pods_of_a_group_reach_each_other_and_nothing_else(build: Any) -> None:
    children = build()
    workers = children["NetworkPolicy", "chat.workers"]["spec"]
    engine = children["NetworkPolicy", "chat"]["spec"]
    (peer,) = workers["ingress"][0]["from"]
    assert peer["podSelector"]["matchLabels"] == {"slipway.dev/model": "chat"}
    assert peer["podSelector"]["matchExpressions"][0]["values"] == ["engine", "engine-worker"]
    assert workers["egress"] == engine["egress"]
    assert [rule.get("to") for rule in engine["egress"]] == [[peer], None]
    assert engine["ingress"][-1] == workers["ingress"][0]
    labels = group(children)["spec"]["leaderWorkerTemplate"]["workerTemplate"]["metadata"]["labels"]
    assert workers["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_autoscaler_counts_groups(build: Any) -> None:
    children = build(autoscaling={"maxReplicas": 3})
    assert "replicas" not in group(children)["spec"]
    target = children["HorizontalPodAutoscaler", "chat"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("LeaderWorkerSet", "chat-nodes")
    assert target["apiVersion"] == "leaderworkerset.x-k8s.io/v1"


def test_a_drain_takes_one_pod_of_any_group_at_a_time(build: Any) -> None:
    children = build()
    budget = children["PodDisruptionBudget", "chat"]["spec"]
    pods = group(children)["spec"]["leaderWorkerTemplate"]
    for template in (pods["leaderTemplate"], pods["workerTemplate"]):
        assert selects(budget["selector"], template["metadata"]["labels"])
    assert budget["maxUnavailable"] == 1
