"""Node objects to facts, and the scheduler's rules about taints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway.api.modeldeployment import PodOverrides, Toleration
from slipway.plan.nodes import node_facts, tolerates, unsuitable
from tests.support.planning import NODES

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "nodes"


def raw(name: str, file: str = "mixed") -> dict[str, Any]:
    items = json.loads((GOLDEN / f"{file}.json").read_text())["items"]
    return next(one for one in items if one["metadata"]["name"] == name)


def test_facts_of_a_gpu_node() -> None:
    facts = node_facts(raw("gpu-1"))
    assert (facts.architecture, facts.cpu, facts.memory) == ("amd64", 64, 512 * 1024**3)
    assert facts.taints == ("nvidia.com/gpu=present:NoSchedule",)
    gpu = facts.gpus[0]
    assert (gpu.resource, gpu.count, gpu.product) == ("nvidia.com/gpu", 8, "NVIDIA-H100-80GB-HBM3")
    assert gpu.memory == 81_559 * 1024**2


def test_not_ready_and_cordoned() -> None:
    assert not node_facts(raw("down")).ready
    cordoned = raw("local", "small")
    assert node_facts(cordoned).ready
    assert not node_facts({**cordoned, "spec": {"unschedulable": True}}).ready


def test_a_node_that_says_nothing_has_nothing() -> None:
    facts = node_facts({"metadata": {"name": "new"}})
    assert (facts.cpu, facts.memory, facts.ready, facts.architecture) == (0, 0, False, "")


def test_architecture_without_its_label() -> None:
    node = {"metadata": {"name": "n"}, "status": {"nodeInfo": {"architecture": "arm64"}}}
    assert node_facts(node).architecture == "arm64"


def test_operating_system_by_its_label_or_as_the_kubelet_says() -> None:
    assert node_facts({"metadata": {"name": "n", "labels": {"kubernetes.io/os": "windows"}}}).os == "windows"
    node = {"metadata": {"name": "n"}, "status": {"nodeInfo": {"operatingSystem": "windows"}}}
    assert node_facts(node).os == "windows"
    for info in ({}, {"operatingSystem": ""}):
        assert node_facts({"metadata": {"name": "n"}, "status": {"nodeInfo": info}}).os == "linux"


@pytest.mark.parametrize(
    ("toleration", "taint", "tolerated"),
    [
        ({"key": "a", "value": "b", "effect": "NoSchedule"}, "a=b:NoSchedule", True),
        ({"key": "a", "value": "b"}, "a=b:NoExecute", True),
        ({"key": "a", "value": "c"}, "a=b:NoSchedule", False),
        ({"key": "a", "operator": "Exists"}, "a=b:NoSchedule", True),
        ({"operator": "Exists"}, "a=b:NoSchedule", True),
        ({"operator": "Exists", "effect": "NoExecute"}, "a=b:NoSchedule", False),
        ({"key": "b", "operator": "Exists"}, "a=b:NoSchedule", False),
        ({"key": "a"}, "a=:NoSchedule", True),
        ({"key": "a"}, "a=b:NoSchedule", False),
    ],
)
def test_tolerations(toleration: dict[str, str], taint: str, *, tolerated: bool) -> None:
    assert tolerates([Toleration.model_validate(toleration)], taint) is tolerated


def test_unsuitable_says_why() -> None:
    assert unsuitable(NODES["local"], None) == ""
    assert "cordoned" in unsuitable(NODES["down"], None)
    assert "riscv64" in unsuitable(NODES["riscv"], None)
    assert unsuitable(replace(NODES["local"], os="windows"), None) == (
        "operating system windows: images are for linux"
    )
    assert "pool=models" in unsuitable(NODES["local"], PodOverrides(node_selector={"pool": "models"}))
    assert unsuitable(NODES["labelled"], PodOverrides(node_selector={"pool": "models"})) == ""
