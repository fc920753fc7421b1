"""Devices that pods have now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.__main__ import main
from slipway.plan.nodes import node_facts
from slipway.plan.usage import devices_used, with_usage
from tests.support.gpu_nodes import gpu_node

MODEL = str(Path(__file__).resolve().parents[2] / "golden/models/llama-7b")


def pod(node: str, devices: int, phase: str = "Running", init: int = 0, **labels: str) -> dict[str, Any]:
    def container(count: int) -> dict[str, Any]:
        return {"resources": {"limits": {"nvidia.com/gpu": str(count), "cpu": "1"}}}

    spec = {"nodeName": node, "containers": [container(devices)], "initContainers": [container(init)]}
    return {"kind": "Pod", "metadata": {"labels": labels}, "spec": spec, "status": {"phase": phase}}


def test_living_pods_count_by_node_and_resource() -> None:
    pods = [
        pod("a", 1),
        pod("a", 2, init=4),
        pod("a", 8, "Succeeded"),
        pod("b", 1, **{"x/m": "own"}),
        pod("", 1),
    ]
    assert devices_used(pods) == {"a": {"nvidia.com/gpu": 5}, "b": {"nvidia.com/gpu": 1}}
    assert devices_used(pods, lambda meta: "x/m" in meta["labels"]) == {"a": {"nvidia.com/gpu": 5}}


def test_nodes_know_what_is_used_of_them() -> None:
    nodes = [node_facts(gpu_node(kind, kind)) for kind in ("h100", "l4", "laptop-16gb")]
    found = with_usage(nodes, devices_used([pod("h100", 3), pod("laptop-16gb", 1)]))
    assert [[gpu.used for gpu in node.gpus] for node in found] == [[3], [0], []]


def test_slipway_plan_reads_pods_beside_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(
        json.dumps({"kind": "List", "items": [gpu_node("l4", "l4"), gpu_node("t4", "t4"), pod("l4", 1)]})
    )
    model = tmp_path / "model.yaml"
    model.write_text(
        "apiVersion: slipway.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: one}\n"
        "spec: {model: {source: hf://acme/model}}\n"
    )
    assert main(["plan", str(model), "--model", MODEL, "--nodes", str(file), "-o", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["accelerator"]["product"] == "Tesla-T4"
    assert any(one["reason"] == "its devices are in use now" for one in plan["rejected"])
