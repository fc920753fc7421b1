"""What lies in a claim belongs to that claim: a lost one means that everything in it is made anew."""

from __future__ import annotations

from contextlib import suppress

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.errors import NotFoundError
from slipway.kube import Raw
from tests.support.cluster import Cluster
from tests.support.operating import looked_again, operating, served

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]


async def ready_source(cluster: Cluster) -> str:
    """A model whose source is fetched; returns the artifact's name."""
    await cluster.model("qwen")
    await cluster.finish("inspect")
    await cluster.finish("fetch")

    async def ready() -> str | None:
        for raw in await cluster.list(resources.ARTIFACT):
            if raw["metadata"]["name"].startswith("model-source-") and is_ready(raw):
                return str(raw["metadata"]["name"])
        return None

    return str(await cluster.until("the source is ready", ready))


def is_ready(raw: Raw) -> bool:
    conditions = raw.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def lose(cluster: Cluster, name: str) -> str:
    """Take the claim away for good; returns its uid."""
    claim = await cluster.get(resources.CLAIM, name)
    await cluster.delete(resources.CLAIM, name)
    with suppress(NotFoundError):  # a running operator lets it go by deleting the Jobs that hold it
        await cluster.patch(resources.CLAIM, name, {"metadata": {"finalizers": None}})
    return str(claim["metadata"]["uid"])


async def test_a_lost_claim_is_filled_again_before_the_artifact_is_ready(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        name = await ready_source(cluster)
        before = (await cluster.list(resources.JOB, "slipway.dev/stage=fetch"))[0]["metadata"]["uid"]
        old = await lose(cluster, name)
        job = await cluster.job("fetch")
        claim = await cluster.get(resources.CLAIM, name)
        assert claim["metadata"]["uid"] != old
        assert job["metadata"]["uid"] != before
        assert job["metadata"]["annotations"]["slipway.dev/claim-uid"] == claim["metadata"]["uid"]
        assert not is_ready(await cluster.get(resources.ARTIFACT, name))
        await cluster.finish("fetch")

        async def again() -> bool:
            return is_ready(await cluster.get(resources.ARTIFACT, name))

        await cluster.until("ready again", again)


async def test_a_claim_lost_while_nobody_looked_is_not_called_ready(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        name = await ready_source(cluster)
    await lose(cluster, name)
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.job("fetch")
        assert not is_ready(await cluster.get(resources.ARTIFACT, name))


async def test_a_claim_that_is_held_is_waited_for_by_name(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        name = await ready_source(cluster)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "reader",
                "namespace": cluster.namespace,
                "labels": {"app.kubernetes.io/managed-by": "slipway"},
            },
            "spec": {
                "nodeName": "small",
                "containers": [{"name": "c", "image": "i"}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}],
            },
        }
        await cluster.kube.create(resources.POD, pod)
        await cluster.patch(resources.CLAIM, name, {"metadata": {"finalizers": ["example.com/held"]}})
        await cluster.delete(resources.CLAIM, name)

        async def named() -> bool:
            conditions = (await cluster.get(resources.ARTIFACT, name))["status"]["conditions"]
            ready = next(one for one in conditions if one["type"] == "Ready")
            return ready["reason"] == "WaitingForClaim" and "reader" in ready["message"]

        await cluster.until("the holder is named", named)
        await cluster.patch(resources.CLAIM, name, {"metadata": {"finalizers": None}})
        await cluster.job("fetch")


async def test_a_superseded_level_goes_when_the_new_one_serves(
    control_plane: ControlPlane, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.passes.artifact.YOUNG_SECONDS", 1.0)
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await served(cluster, optimize={"level": "Q4_K_M"})

        async def levels() -> set[str]:
            raws = await cluster.list(resources.ARTIFACT)
            return {raw["spec"]["recipe"].get("level", "source") for raw in raws}

        await cluster.patch(resources.MODEL, "qwen", {"spec": {"optimize": {"level": "Q8_0"}}})
        await cluster.finish("inspect")
        await cluster.finish("quantize")
        await looked_again(operator)
        assert await levels() == {"source", "F16", "Q4_K_M", "Q8_0"}
        await cluster.finish("evaluate")
        await cluster.finish("publish")

        async def gone() -> bool:
            await cluster.serve("qwen")
            return await levels() == {"source", "F16", "Q8_0"}

        await cluster.until("the old level gone", gone)
        # History stays: it is what a spec of yesterday goes back to.
        assert len(await cluster.list(resources.REVISION)) == 2
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"optimize": {"level": "Q4_K_M"}}})
        await cluster.job("quantize")
        assert len(await cluster.list(resources.REVISION)) == 2
