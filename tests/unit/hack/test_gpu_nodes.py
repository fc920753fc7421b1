"""The catalogue of real machines: whether an API server would take them, and what sets the kinds apart."""

from __future__ import annotations

import re

import pytest

from tests.support.gpu_nodes import KINDS, gpu_node, node_list

NAME = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_an_object_that_an_api_server_takes(kind: str) -> None:
    node = gpu_node(kind, "one", 2)
    for key, value in node["metadata"]["labels"].items():
        assert NAME.fullmatch(key.rpartition("/")[2])
        assert NAME.fullmatch(value)
        assert len(value) <= 63
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == node["metadata"]["name"] == "one"
    assert node["status"]["allocatable"].keys() == node["status"]["capacity"].keys()
    assert all(isinstance(value, str) for value in node["status"]["allocatable"].values())


def test_shares_and_slices_multiply_devices() -> None:
    def offered(kind: str) -> dict[str, str]:
        allocatable = gpu_node(kind, count=2)["status"]["allocatable"]
        return {key: value for key, value in allocatable.items() if key.startswith("nvidia.com/")}

    assert offered("t4") == {"nvidia.com/gpu": "2"}
    assert offered("t4-mps") == {"nvidia.com/gpu": "8"}
    assert offered("a100-80gb-mig-single") == {"nvidia.com/gpu": "14"}
    assert offered("a100-80gb-mig-mixed") == {
        "nvidia.com/gpu": "0",
        "nvidia.com/mig-1g.10gb": "4",
        "nvidia.com/mig-2g.20gb": "2",
        "nvidia.com/mig-3g.40gb": "2",
    }


def test_labels_are_the_vendors_own() -> None:
    labels = {kind: gpu_node(kind)["metadata"]["labels"] for kind in KINDS}
    assert labels["l4-time-slicing"]["nvidia.com/gpu.product"] == "NVIDIA-L4-SHARED"
    assert labels["h100"]["nvidia.com/gpu.memory"] == "81559"
    assert labels["mi300x"]["beta.amd.com/gpu.vram.192G"] == "8"
    assert labels["max-1550"]["gpu.intel.com/memory.max"] == str(4 * 128 * 2**30)
    assert labels["ascend-910b"]["node.kubernetes.io/npu.chip.name"] == "910B3"
    assert labels["a100-40gb"]["topology.kubernetes.io/region"] == "us-east-1"


def test_a_list_is_what_kubectl_prints() -> None:
    found = node_list(gpu_node("h100", "a"), gpu_node("raspberry-pi-4", "b"))
    assert found["kind"] == "List"
    assert [item["metadata"]["name"] for item in found["items"]] == ["a", "b"]
