"""One model on several kinds of nodes, against a real API server; the kubelet and the nodes are played."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.kube import Raw
from slipway.status import timestamp
from tests.support.cluster import Cluster
from tests.support.gpu_nodes import gpu_node
from tests.support.operating import looked_again, operating, settled
from tests.support.stage_results import RESULTS

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]
L4 = {"nvidia.com/gpu.product": "NVIDIA-L4"}
SHARED = {"accessMode": "ReadWriteMany"}
CPU = {"slipway.dev/test-pool": "cpu"}
POOLS = [
    {"name": "l4", "nodeSelector": L4, "maxReplicas": 2},
    {"name": "cpu", "nodeSelector": CPU, "engine": {"contextLength": 512}, "optimize": {"level": "Q4_K_M"}},
]


@pytest.fixture
async def machines(cluster: Cluster) -> AsyncIterator[None]:
    """A node with one L4, and one without a device."""
    one = gpu_node("l4", f"l4-{cluster.namespace}")
    other = gpu_node("m7i-4xlarge", f"cpu-{cluster.namespace}")
    other["metadata"]["labels"] |= CPU
    made = [await cluster.kube.request("POST", resources.NODE.path(), body=node) for node in (one, other)]
    yield
    for node in made:
        meta = node["metadata"]
        await cluster.kube.delete(resources.NODE, None, meta["name"], meta["uid"])


async def pool_of(cluster: Cluster, name: str) -> Raw:
    return await cluster.get(resources.MODEL, name)


async def status(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = (await cluster.get(resources.MODEL, "chat")).get("status") or {}
    return found


async def dealt(cluster: Cluster, **wanted: int) -> None:
    """Wait for this deal, in status and in the pools' own specs."""

    async def so() -> bool:
        pools = {one["name"]: one["replicas"] for one in (await status(cluster)).get("pools", ())}
        specs = {
            name: (await pool_of(cluster, f"chat-{name}")).get("spec", {}).get("replicas") for name in wanted
        }
        return pools == wanted == specs

    await cluster.until(f"a deal of {wanted}", so)


async def inspected(cluster: Cluster, model: str, before: str = "") -> str:
    """Play the kubelet: an inspection of the model ends, though it may be stale by then; returns its Job."""
    job = await cluster.job("inspect", model=model, but={before})
    await cluster.end_pod(await cluster.pod_of(job), 0, RESULTS["inspect"])
    return str(job["metadata"]["name"])


async def play_builds(cluster: Cluster) -> None:
    """Play the kubelet for every stage of both pools: the source once, its GGUF once."""
    for stage in ("fetch", "convert"):
        await cluster.finish(stage)
    await cluster.finish("evaluate", perplexity="13.82")
    for stage in ("publish", "quantize"):
        await cluster.finish(stage)
    await cluster.finish("evaluate", perplexity="14.81")
    await cluster.finish("publish")


async def retry_now(cluster: Cluster, pool: str) -> None:
    """Let the time pass until a full pool is tried again."""
    found = await cluster.get(resources.MODEL, "chat")
    pools = found["status"]["pools"]
    due = timestamp(datetime.now(UTC) - timedelta(seconds=1))
    pools = [{**one, "retryAt": due} if one["name"] == pool else one for one in pools]
    path = resources.MODEL.path(cluster.namespace, "chat", "status")
    headers = {"Content-Type": "application/merge-patch+json"}
    await cluster.kube.request("PATCH", path, body={"status": {"pools": pools}}, headers=headers)


async def test_pools_fill_in_order_spill_and_come_back(
    control_plane: ControlPlane, cluster: Cluster, machines: None
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("chat", pools=POOLS, replicas=2, store=SHARED)
        await cluster.finish("inspect")

        async def both() -> bool:
            found = [await pool_of(cluster, name) for name in ("chat-l4", "chat-cpu")]
            return all(one.get("status", {}).get("plan") for one in found)

        await cluster.until("plans of both pools", both)
        assert not [job for job in await cluster.list(resources.JOB, "slipway.dev/stage=inspect")
                    if "cpu" in job["metadata"]["name"]]  # fmt: skip
        models = {one["metadata"]["name"]: one for one in await cluster.list(resources.MODEL)}
        assert {name: one["status"]["plan"]["engine"] for name, one in models.items() if name != "chat"} == {
            "chat-l4": "vllm", "chat-cpu": "llamacpp",
        }  # fmt: skip
        assert {one["spec"]["model"]["revision"] for name, one in models.items() if name != "chat"} == {
            "c" * 40
        }
        await play_builds(cluster)
        artifacts = await cluster.list(resources.ARTIFACT)
        assert sorted(one["spec"]["recipe"]["method"] for one in artifacts) == ["gguf", "gguf", "source"]
        await dealt(cluster, l4=2, cpu=0)
        await cluster.serve("chat-l4", 2)
        await cluster.until_reason("chat", "Ready", "Serving")
        (service,) = [
            one for one in await cluster.list(resources.SERVICE) if one["metadata"]["name"] == "chat"
        ]
        pods = await cluster.engine_pods("chat-l4")
        assert service["spec"]["selector"].items() <= pods[0]["metadata"]["labels"].items()
        args = pods[0]["spec"]["containers"][0]["args"]
        assert args[args.index("--served-model-name") + 1] == "chat"

        # One device is lost: a pod waits for minutes.
        await cluster.unschedulable(pods[0], "0/2 nodes are available: 2 Insufficient nvidia.com/gpu", 150)
        await dealt(cluster, l4=1, cpu=1)
        spilled = await cluster.condition("chat", "Spilled")
        assert (spilled["status"], spilled["reason"]) == ("True", "PoolFull")
        assert "no room in pool l4" in spilled["message"]
        assert "Insufficient nvidia.com/gpu" in spilled["message"]
        await cluster.serve("chat-cpu")
        await cluster.until_reason("chat", "Ready", "Serving")
        found = {one["name"]: one for one in (await status(cluster))["pools"]}
        assert (found["l4"]["state"], found["cpu"]["state"]) == ("Full", "Filling")
        assert found["cpu"]["plan"] == "llamacpp Q4_K_M"

        # What a hand makes of a pool is turned back.
        by_hand = {"spec": {"suspend": True, "replicas": 7}}
        await cluster.patch(resources.MODEL, "chat-cpu", by_hand)

        async def turned_back() -> bool:
            spec = (await pool_of(cluster, "chat-cpu"))["spec"]
            return "suspend" not in spec and spec["replicas"] == 1

        await cluster.until("the pool as it was", turned_back)

        # It is tried again: what answers elsewhere stays until it does.
        await retry_now(cluster, "l4")
        await dealt(cluster, l4=2, cpu=1)
        await cluster.serve("chat-l4", 2)
        await dealt(cluster, l4=2, cpu=0)
        back = await cluster.condition("chat", "Spilled")
        assert (back["status"], back["reason"]) == ("False", "InOrder")
        job = await cluster.job("benchmark", model="chat-l4")
        await cluster.end_pod(await cluster.pod_of(job), 0, RESULTS["benchmark"])
        await settled(operator)
        before = operator.kube.writes.total()
        await looked_again(operator)
        assert operator.kube.writes.total() == before


async def test_a_pool_that_nothing_fits_is_passed_over(
    control_plane: ControlPlane, cluster: Cluster, machines: None
) -> None:
    pools = [{"name": "h100", "nodeSelector": {"nvidia.com/gpu.product": "H100"}}, POOLS[1]]
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("chat", pools=pools, store=SHARED)
        first = await inspected(cluster, "chat-h100")
        await inspected(cluster, "chat-h100", first)
        await inspected(cluster, "chat-cpu")
        await dealt(cluster, h100=0, cpu=1)
        full = next(one for one in (await status(cluster))["pools"] if one["name"] == "h100")
        assert full["state"] == "Full"
        assert "wants nvidia.com/gpu.product=H100" in full["message"]


async def test_pools_come_to_a_model_that_serves_and_leave_it_again(
    control_plane: ControlPlane, cluster: Cluster, machines: None
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model(
            "chat", engine={"podOverrides": {"nodeSelector": CPU}}, optimize={"level": "Q4_K_M"}
        )
        await cluster.build()
        await cluster.serve("chat")
        await cluster.until_reason("chat", "Available", "Serving")
        own = {"app.kubernetes.io/component": "engine", "slipway.dev/model": "chat"}
        pools = [{"name": "cpu", "nodeSelector": CPU}]
        await cluster.patch(resources.MODEL, "chat", {"spec": {"pools": pools}})
        await cluster.finish("inspect")

        async def pods() -> Any:
            return await cluster.engine_pods("chat-cpu")

        await cluster.until("pods of the pool", pods)
        assert (await cluster.get(resources.SERVICE, "chat"))["spec"]["selector"] == own
        assert await cluster.get(resources.DEPLOYMENT, "chat")
        await cluster.serve("chat-cpu")

        async def moved() -> bool:
            gone = not await cluster.get(resources.DEPLOYMENT, "chat")
            return gone and (await cluster.get(resources.SERVICE, "chat"))["spec"]["selector"] != own

        await cluster.until("the Service before the pools", moved)
        await cluster.patch(resources.MODEL, "chat", {"spec": {"pools": None}})
        await cluster.finish("inspect")

        async def back() -> Any:
            return await cluster.get(resources.DEPLOYMENT, "chat")

        await cluster.until("a Deployment of its own", back)
        assert (await cluster.get(resources.SERVICE, "chat"))["spec"]["selector"] != own
        await cluster.serve("chat")

        async def alone() -> bool:
            left = [one["metadata"]["name"] for one in await cluster.list(resources.MODEL)]
            return (
                left == ["chat"] and (await cluster.get(resources.SERVICE, "chat"))["spec"]["selector"] == own
            )

        await cluster.until("no pools", alone)
