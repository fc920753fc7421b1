"""What the tests of engines stand on: machines that are not there, and the LeaderWorkerSet controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import images, layout, tools
from tests.cluster.access import ROOT
from tests.cluster.namespaces import Cluster
from tests.support.gpu_nodes import gpu_node
from tests.support.kwok import fake_nodes

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
EVERYWHERE = Cluster("")
GATE = "slipway.dev/test"
TOLERATED = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
PAIR = ("pair-0", "pair-0-1")


@pytest.fixture(scope="session")
def image() -> str:
    """An image that the node has: the engine's own, as built on this machine."""
    built = json.loads((ROOT / ".cluster/images.json").read_text())["llamacpp"]
    store = images.Store(tools.ensure(["ctr"])["ctr"])
    name = f"{built['ref'].rpartition(':')[0]}@{built['digest']}"
    if name not in store.present():
        store.load(Path(built["archive"]))
    return name


def container(image: str, **more: Any) -> dict[str, Any]:
    """A container that waits, and that PSS ``restricted`` admits."""
    secure = {
        "allowPrivilegeEscalation": False, "runAsNonRoot": True, "runAsUser": 1000,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    return {"name": "main", "image": image, "command": ["sleep", "3600"], "securityContext": secure, **more}


def gpu_pod(name: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/health", "port": 8080}}
    spec = {
        "containers": [
            container(
                "example.org/engine:1",
                resources={"limits": {"nvidia.com/gpu": "1"}},
                startupProbe=probe,
                readinessProbe=probe,
            )
        ],
        "readinessGates": [{"conditionType": GATE}],
        "tolerations": TOLERATED,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def state(pod: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", ())}


def test_a_pod_runs_on_a_machine_that_is_not_there(home: Cluster, fake_kubelet: None) -> None:
    real = EVERYWHERE.get("nodes", layout.NODE_NAME)["metadata"]
    with fake_nodes(gpu_node("h100", "h100-a"), gpu_node("mi210", "mi210-a")) as names:
        assert names == ["h100-a", "mi210-a"]
        node = EVERYWHERE.get("nodes", "h100-a")
        assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        home.apply(gpu_pod("wants-one"))
        home.wait("the pod", lambda: state(home.get("pods", "wants-one")).get("Ready") == "True", 60)
        pod = home.get("pods", "wants-one")
        assert pod["spec"]["nodeName"] == "h100-a"
        assert pod["status"]["phase"] == "Running"
        assert state(pod)[GATE] == "True"
        assert pod["status"]["containerStatuses"][0]["started"]
    assert home.list("pods") == []
    now = EVERYWHERE.get("nodes", layout.NODE_NAME)["metadata"]
    assert (now["labels"], now["annotations"]) == (real["labels"], real["annotations"])


def leader_worker_set(spec: dict[str, Any]) -> dict[str, Any]:
    template = {"spec": {"terminationGracePeriodSeconds": 0, **spec}}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "pair"},
        "spec": {
            "replicas": 1,
            "leaderWorkerTemplate": {"size": 2, "leaderTemplate": template, "workerTemplate": template},
        },
    }


def paired(home: Cluster) -> bool:
    return all(state(home.get("pods", name)).get("Ready") == "True" for name in PAIR)


def remove(home: Cluster) -> None:
    home.kubectl("delete", "lws", "pair", "--cascade=foreground", "--timeout=90s")
    home.wait("the pods' end", lambda: home.list("pods") == [], 60)


def test_a_leader_and_its_worker_find_each_other(home: Cluster, image: str, lws: None) -> None:
    home.apply(leader_worker_set({"containers": [container(image)]}))
    home.wait("the leader and its worker", lambda: paired(home), 120)
    for name, index in zip(PAIR, "01", strict=True):
        script = "echo $LWS_LEADER_ADDRESS $LWS_GROUP_SIZE $LWS_WORKER_INDEX"
        said = home.kubectl("exec", name, "--", "sh", "-c", script)
        assert said.split() == [f"pair-0.pair.{home.namespace}", "2", index]
    address = home.get("pods", "pair-0")["status"]["podIP"]
    found = home.kubectl("exec", "pair-0-1", "--", "sh", "-c", "getent hosts $LWS_LEADER_ADDRESS")
    assert found.split()[0] == address
    remove(home)


def test_a_pair_fills_two_machines_that_are_not_there(home: Cluster, lws: None, fake_kubelet: None) -> None:
    whole = container("example.org/engine:1", resources={"limits": {"nvidia.com/gpu": "8"}})
    machines = [gpu_node("h100", name) for name in ("h100-a", "h100-b")]
    with fake_nodes(*machines) as names:
        home.apply(leader_worker_set({"containers": [whole], "tolerations": TOLERATED}))
        home.wait("the leader and its worker", lambda: paired(home), 120)
        pods = [home.get("pods", name) for name in PAIR]
        assert sorted(pod["spec"]["nodeName"] for pod in pods) == names
        for pod in pods:
            given = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
            assert given["LWS_LEADER_ADDRESS"] == f"pair-0.pair.{home.namespace}"
        remove(home)
