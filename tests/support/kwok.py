"""Fake nodes on the running cluster: kwok plays their kubelet, and leaves every other node alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.cluster import tools
from tests.cluster import access
from tests.cluster.namespaces import Cluster
from tests.support.host_programs import built, running

ANNOTATION = "kwok.x-k8s.io/node"
FAKE = "fake"
PODS = "198.18.192.0/24"
"""Addresses of pods on fake nodes: in the cluster's range, outside its real node's; nothing answers there."""
NODE_IP = "198.18.255.1"
EVERYWHERE = Cluster("")


@contextmanager
def kwok(folder: Path) -> Iterator[None]:
    """The controller for the block; its log is ``folder/kwok.log``. The first node shows whether it works."""
    log = folder / "kwok.log"
    command: list[str | Path] = [
        built("kwok"), "--kubeconfig", access.kubeconfig(), "--config", tools.SOURCES / "kwok/stages.yaml",
        f"--manage-nodes-with-annotation-selector={ANNOTATION}={FAKE}", f"--cidr={PODS}",
        f"--node-ip={NODE_IP}", "--node-lease-duration-seconds=0",
    ]  # fmt: skip
    with running(command, log, lambda: True):
        for node in EVERYWHERE.list("nodes"):  # of tests that were killed
            if node["metadata"].get("annotations", {}).get(ANNOTATION) == FAKE:
                remove(node["metadata"]["name"])
        yield


def faked(node: dict[str, Any]) -> dict[str, Any]:
    """The node as kwok takes it: with the annotation, without conditions, which kwok sets.

    One that every pod may use gets a taint like a pool's, so that the cluster's own pods don't land there.
    """
    made = copy.deepcopy(node)
    made["metadata"]["annotations"] = {ANNOTATION: FAKE}
    made["status"].pop("conditions", None)
    taints = made["spec"].setdefault("taints", [])
    if not any(taint["effect"] == "NoSchedule" for taint in taints):
        devices = [name for name in made["status"]["allocatable"] if "/" in name]
        key, value = (devices[0], "present") if devices else (ANNOTATION, FAKE)
        taints.append({"key": key, "value": value, "effect": "NoSchedule"})
    return made


@contextmanager
def fake_nodes(*nodes: dict[str, Any]) -> Iterator[list[str]]:
    """These nodes for the block, Ready; their names. They go with their pods; kwok must run on until then."""
    names = [node["metadata"]["name"] for node in nodes]
    try:
        for node in nodes:
            # kubectl's apply would not write the status.
            status, answer = access.request("POST", "/api/v1/nodes", faked(node))
            assert status == 201, answer
        EVERYWHERE.wait(f"fake nodes {names}", lambda: all(map(ready, names)), 60)
        yield names
    finally:
        for name in names:
            remove(name)


def ready(name: str) -> bool:
    """Whether the node is Ready and open: the node controller has taken its not-ready taint away."""
    node = EVERYWHERE.get("nodes", name)
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions", ())}
    taints = {taint["key"] for taint in node.get("spec", {}).get("taints", ())}
    return conditions.get("Ready") == "True" and "node.kubernetes.io/not-ready" not in taints


def remove(name: str) -> None:
    """Delete the node after its pods: the garbage collector would let them stay for a while."""
    EVERYWHERE.kubectl(
        "cordon", name, namespaced=False, check=False
    )  # else who owns the pods puts more there
    where = f"--field-selector=spec.nodeName={name}"
    found = json.loads(EVERYWHERE.kubectl("get", "pods", "-A", where, "-o", "json", namespaced=False))
    for pod in found["items"]:
        meta = pod["metadata"]
        home = Cluster(meta["namespace"])
        home.kubectl("delete", "pod", meta["name"], "--ignore-not-found", "--timeout=60s")
    EVERYWHERE.kubectl("delete", "node", name, "--ignore-not-found", namespaced=False)
