"""A replica of several nodes against a real API server that knows LeaderWorkerSets, by their own CRD."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import yaml

from hack.cluster import sources
from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.errors import ApiError
from slipway.kube import Kube, Raw
from slipway.manifests.leader_worker_set import set_name
from tests.support.cluster import Cluster
from tests.support.gpu_nodes import gpu_node
from tests.support.operating import looked_again, operating, settled

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ENGINE = {"name": "vllm", "pipelineParallel": 2}
SHARED = {"accessMode": "ReadWriteMany"}


@pytest.fixture
async def known(cluster: Cluster) -> AsyncIterator[None]:
    """The API server knows the kind."""
    folder = sources.folder("sigs.k8s.io/lws", "lws") / "config/crd/bases"
    (crd,) = [one for path in folder.glob("*.yaml") for one in yaml.safe_load_all(path.read_text())
              if one["spec"]["names"]["kind"] == "LeaderWorkerSet"]  # fmt: skip
    crd["spec"].pop("conversion", None)
    await cluster.kube.request("POST", CRDS, body=crd)

    async def listed() -> bool:
        await cluster.list(resources.LEADER_WORKER_SET)
        return True

    await cluster.until("the kind", listed)
    yield
    await cluster.clear()
    await cluster.kube.request("DELETE", f"{CRDS}/{crd['metadata']['name']}")

    async def unknown() -> bool:
        try:
            await cluster.list(resources.LEADER_WORKER_SET)
        except ApiError:
            return True
        return False

    await cluster.until("no such kind", unknown)


@pytest.fixture
async def machines(cluster: Cluster) -> AsyncIterator[None]:
    """Two nodes with one device each."""
    names = [f"l4-{letter}-{cluster.namespace}" for letter in "ab"]
    made = [
        await cluster.kube.request("POST", resources.NODE.path(), body=gpu_node("l4", name)) for name in names
    ]
    yield
    for node in made:
        meta = node["metadata"]
        await cluster.kube.delete(resources.NODE, None, meta["name"], meta["uid"])


async def group_of(cluster: Cluster, name: str) -> Raw:
    async def there() -> Raw:
        return await cluster.get(resources.LEADER_WORKER_SET, set_name(name))

    return dict(await cluster.until("a LeaderWorkerSet", there))


async def ready(kube: Kube, raw: Raw, count: int) -> None:
    """Play LeaderWorkerSet's controller: its groups are there and answer."""
    meta = raw["metadata"]
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), count)
    path = resources.LEADER_WORKER_SET.path(meta["namespace"], meta["name"], "status")
    body = {"status": {**counts, "observedGeneration": meta["generation"]}}
    await kube.request("PATCH", path, body=body, headers={"Content-Type": "application/merge-patch+json"})


async def test_a_model_on_two_nodes(
    control_plane: ControlPlane, cluster: Cluster, known: None, machines: None
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("big", engine=ENGINE, store=SHARED)
        await cluster.finish("inspect")
        await cluster.until_reason("big", "Planned", "Decided")
        plan = (await cluster.get(resources.MODEL, "big"))["status"]["plan"]
        assert (plan["engine"], plan["pipelineParallel"], plan["pods"]) == ("vllm", 2, 2)
        await cluster.finish("fetch")
        made = await group_of(cluster, "big")
        assert made["spec"]["leaderWorkerTemplate"]["size"] == 2
        assert await cluster.list(resources.DEPLOYMENT) == []
        policies = {one["metadata"]["name"] for one in await cluster.list(resources.NETWORK_POLICY)}
        assert {"big", "big.workers", "big.jobs"} <= policies
        await cluster.until_reason("big", "Available", "Starting")
        await ready(cluster.kube, made, 1)
        await cluster.until_reason("big", "Available", "Serving")
        await cluster.finish("benchmark")
        await cluster.until_reason("big", "Ready", "Serving")
        model = await cluster.get(resources.MODEL, "big")
        assert model["status"]["readyReplicas"] == 1
        evidence = [one["evidence"] for one in model["status"]["checklist"]["results"]]
        assert any(f"LeaderWorkerSet {cluster.namespace}/big-nodes" in one for one in evidence)
        await settled(operator)
        before = operator.kube.writes.total()
        await looked_again(operator)
        assert operator.kube.writes.total() == before
        await cluster.patch(resources.MODEL, "big", {"spec": {"replicas": 2}})

        async def scaled() -> bool:
            return bool((await group_of(cluster, "big"))["spec"]["replicas"] == 2)

        await cluster.until("two groups", scaled)


async def test_without_the_kind_it_is_said_what_is_missing(
    control_plane: ControlPlane, cluster: Cluster, machines: None
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("big", engine=ENGINE, store=SHARED)
        await cluster.finish("inspect")
        refused = await cluster.until_reason("big", "Planned", "NothingFits")
        assert "2 such nodes together hold it: that needs LeaderWorkerSet" in refused["message"]
