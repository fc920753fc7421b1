"""Models on nodes with devices, against a real API server: planned by what is free, served, planned anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.kube import Raw
from tests.support.cluster import Cluster
from tests.support.gpu_nodes import gpu_node
from tests.support.operating import looked_again, operating, settled

pytestmark = [pytest.mark.api, pytest.mark.timeout(120)]


@asynccontextmanager
async def machines(cluster: Cluster, *kinds: str) -> AsyncIterator[None]:
    """These nodes for the block; other tests of this API server must not see them."""
    made = [
        await cluster.kube.request("POST", resources.NODE.path(), body=gpu_node(kind, called(cluster, kind)))
        for kind in kinds
    ]
    try:
        yield
    finally:
        for node in made:
            await remove(cluster, node["metadata"]["name"])


def called(cluster: Cluster, kind: str) -> str:
    """Name of this test's node: pods of another test may still be bound to theirs."""
    return f"{kind}-{cluster.namespace}"


async def remove(cluster: Cluster, name: str) -> None:
    """Delete a node, if it is there."""
    found = [one for one in await nodes(cluster) if one["metadata"]["name"] == name]
    for node in found:
        await cluster.kube.delete(resources.NODE, None, name, node["metadata"]["uid"])


async def nodes(cluster: Cluster) -> list[Raw]:
    return list((await cluster.kube.list_page(resources.NODE, None, {}))["items"])


async def taken(cluster: Cluster, node: str, devices: int) -> None:
    """Somebody's pod has devices of a node."""
    container = {"name": "theirs", "image": "acme/x:1", "resources": {"limits": {"nvidia.com/gpu": devices}}}
    spec = {"nodeName": node, "containers": [container], "tolerations": [{"operator": "Exists"}]}
    meta = {"name": "theirs", "namespace": cluster.namespace}
    await cluster.kube.create(
        resources.POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    )


async def planned(cluster: Cluster, name: str = "qwen") -> dict[str, Any]:
    await cluster.until_reason(name, "Planned", "Decided")
    plan: dict[str, Any] = (await cluster.get(resources.MODEL, name))["status"]["plan"]
    return plan


async def test_a_model_is_served_by_vllm_on_a_device(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with machines(cluster, "l4"), operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen")
        await cluster.finish("inspect")
        plan = await planned(cluster)
        assert (plan["engine"], plan["method"], plan["accelerator"]["product"]) == (
            "vllm",
            "fp8",
            "NVIDIA-L4",
        )
        await cluster.finish("fetch")
        (deployment,) = await cluster.until("a Deployment", lambda: cluster.list(resources.DEPLOYMENT))
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert {"key": "nvidia.com/gpu", "operator": "Exists"} in pod["tolerations"]
        assert container["args"][container["args"].index("--quantization") :][:2] == ["--quantization", "fp8"]
        await cluster.serve("qwen")
        await cluster.until_reason("qwen", "Ready", "Serving")
        artifacts = await cluster.list(resources.ARTIFACT)
        assert [one["spec"]["recipe"]["method"] for one in artifacts] == ["source"]
        results = (await cluster.get(resources.MODEL, "qwen"))["status"]["checklist"]["results"]
        (loss,) = [one for one in results if one["check"] == "quality-loss"]
        assert (loss["result"], "while it loads" in loss["value"]) == ("WARN", True)
        await settled(operator)
        before = operator.kube.writes.total()
        await looked_again(operator)
        assert operator.kube.writes.total() == before


async def test_devices_of_others_are_not_planned_with(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with machines(cluster, "l4", "t4"):
        await taken(cluster, called(cluster, "l4"), 1)
        async with operating(control_plane.kubeconfig, cluster.namespace):
            await cluster.model("qwen")
            await cluster.finish("inspect")
            plan = await planned(cluster)
            assert plan["accelerator"]["product"] == "Tesla-T4"
            assert "its devices are in use now" in {one["reason"] for one in plan["rejected"]}


async def test_a_node_that_vanishes_is_planned_around_once(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with machines(cluster, "l4"), operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen")
        await cluster.finish("inspect")
        assert (await planned(cluster))["engine"] == "vllm"
        await cluster.finish("fetch")
        pods = await cluster.until("an engine pod", lambda: cluster.engine_pods("qwen"))
        await remove(cluster, called(cluster, "l4"))
        await cluster.unschedulable(pods[0], "0/1 nodes are available: 1 node(s) didn't match selector")

        async def on_cpu() -> bool:
            return (await cluster.get(resources.MODEL, "qwen"))["status"]["plan"]["engine"] == "llamacpp"

        await cluster.until("a plan for the node that is left", on_cpu)
        await settled(operator)
        revisions = await cluster.list(resources.REVISION)
        await looked_again(operator)
        assert len(revisions) == len(await cluster.list(resources.REVISION)) == 2
