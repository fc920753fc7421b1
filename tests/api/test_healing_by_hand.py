"""Edits by hand that an apply can't merge away, labels taken off, and objects that come in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.api import FIELD_MANAGER
from slipway.apply import Applier
from slipway.errors import ConflictError, NotFoundError
from slipway.kube import Raw
from slipway.resources import Resource
from tests.support.cluster import Cluster
from tests.support.operating import operating, served_f16, settled

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]
POD = "/spec/template/spec"
LABEL = "app.kubernetes.io/managed-by"


def put(path: str, value: Any) -> Raw:
    return {"op": "add", "path": path, "value": value}


def take(path: str) -> Raw:
    return {"op": "remove", "path": path}


EDITS = {
    "a port": (resources.SERVICE, [put("/spec/ports/0/port", 9090)]),
    "a budget": (resources.BUDGET, [take("/spec/maxUnavailable"), put("/spec/minAvailable", 1)]),
    "a probe": (
        resources.DEPLOYMENT,
        [put(f"{POD}/containers/0/readinessProbe", {"tcpSocket": {"port": 8080}})],
    ),
    "a volume": (
        resources.DEPLOYMENT,
        [put(f"{POD}/volumes/1", {"name": "tmp", "hostPath": {"path": "/x"}}), take(f"{POD}/volumes/2")],
    ),
    "a pause": (resources.DEPLOYMENT, [put("/spec/paused", value=True)]),
}


async def edit(cluster: Cluster, resource: Resource, operations: list[Raw]) -> Raw:
    """As ``kubectl edit`` does."""
    headers = {"Content-Type": "application/json-patch+json"}
    path = resource.path(cluster.namespace, "qwen")
    who = {"fieldManager": "kubectl-edit"}
    return await cluster.kube.request("PATCH", path, params=who, body=operations, headers=headers)


def seems(cluster: Cluster, resource: Resource, spec: Raw) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return bool((await cluster.get(resource, "qwen"))["spec"] == spec)

    return probe


async def test_what_was_put_in_the_place_of_ours_heals(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await served_f16(cluster)
        await settled(operator)
        for what, (resource, operations) in EDITS.items():
            before = await cluster.get(resource, "qwen")
            edited = await edit(cluster, resource, operations)
            assert edited["spec"] != before["spec"]
            await cluster.until(f"{what} back", seems(cluster, resource, before["spec"]))
            await settled(operator)
            now = await cluster.get(resource, "qwen")
            assert now["metadata"]["uid"] == before["metadata"]["uid"], "it was not made anew"
            writers = {
                (one["manager"], one["operation"])
                for one in now["metadata"]["managedFields"]
                if "f:spec" in one["fieldsV1"]
            }
            assert writers == {(FIELD_MANAGER, "Apply")}, "what is no longer wished can go"


async def test_labels_taken_off_come_back_and_nothing_is_made_anew(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await served_f16(cluster)
        await settled(operator)
        name = (await cluster.list(resources.CLAIM))[-1]["metadata"]["name"]
        status = (await cluster.get(resources.ARTIFACT, name))["status"]
        jobs = {one["metadata"]["uid"] for one in await cluster.list(resources.JOB)}
        await cluster.patch(resources.CLAIM, name, {"metadata": {"labels": {LABEL: None}}})

        async def labelled() -> bool:
            found = await cluster.get(resources.CLAIM, name)
            return bool(found["metadata"]["labels"].get(LABEL) == "slipway")

        await cluster.until("the claim's label back", labelled)
        await settled(operator)
        assert (await cluster.get(resources.ARTIFACT, name))["status"] == status
        assert {one["metadata"]["uid"] for one in await cluster.list(resources.JOB)} == jobs


async def test_a_running_jobs_label_comes_back(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen")
        await cluster.finish("inspect")
        job = await cluster.job("fetch")
        name = job["metadata"]["name"]
        await cluster.patch(resources.JOB, name, {"metadata": {"labels": {LABEL: None}}})

        async def labelled() -> bool:
            found = await cluster.get(resources.JOB, name)
            same = found["metadata"]["uid"] == job["metadata"]["uid"]
            return same and bool(found["metadata"]["labels"].get(LABEL) == "slipway")

        await cluster.until("the Job's label back", labelled)
        await cluster.finish("fetch")
        await cluster.job("convert")


@pytest.mark.parametrize(
    ("resource", "spec"),
    [
        (resources.SERVICE, {"ports": [{"port": 80}]}),
        (resources.BUDGET, {"maxUnavailable": 1}),
        (resources.NETWORK_POLICY, {"podSelector": {}}),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
async def test_what_comes_after_the_look_is_not_taken_over(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, resource: Resource, spec: Raw
) -> None:
    meta = {"name": "x", "namespace": cluster.namespace}
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
    theirs = await cluster.kube.create(resource, body)

    async def too_early(*_: object) -> Raw:
        raise NotFoundError(404, "NotFound", "it comes in a moment")

    applier = Applier(cluster.kube, lambda _: None, "test")
    with monkeypatch.context() as patched:
        patched.setattr(cluster.kube, "get", too_early)
        with pytest.raises(ConflictError):
            await applier.apply_child(body, None, "owner")
    now = await cluster.get(resource, "x")
    assert now["spec"] == theirs["spec"]
    assert "annotations" not in now["metadata"]
    await cluster.delete(resource, "x")
    assert await applier.apply_child(body, None, "owner")
