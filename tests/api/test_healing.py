"""What people and the cluster do to children, and what becomes of it."""

from __future__ import annotations

import copy
import functools
import operator as operators
from collections.abc import Callable
from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.resources import Resource
from slipway.settings import Images
from tests.support.cluster import Cluster
from tests.support.operating import F16, looked_again, operating, served, served_f16, settled

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]


async def made_anew(cluster: Cluster, resource: Resource) -> None:
    """Delete a child, and wait for another of its name."""
    uid = (await cluster.get(resource, "qwen"))["metadata"]["uid"]
    await cluster.delete(resource, "qwen")

    async def back() -> bool:
        found = await cluster.get(resource, "qwen")
        return bool(found) and found["metadata"]["uid"] != uid

    await cluster.until(f"{resource.kind} back", back)


Change = Callable[[Any], Any]
"""From the value that a field has to another."""


async def edit_heals(
    cluster: Cluster, resource: Resource, path: tuple[str | int, ...], change: Change
) -> None:
    """Edit one field of a child by hand, and wait until its whole spec is as it was."""
    before = (await cluster.get(resource, "qwen"))["spec"]
    edited = copy.deepcopy(before)
    inside = functools.reduce(operators.getitem, path[:-1], edited)
    inside[path[-1]] = change(inside[path[-1]])
    answer = await cluster.patch(resource, "qwen", {"spec": edited})
    assert answer["spec"] != before, "the API server took the edit"

    async def back() -> bool:
        return bool((await cluster.get(resource, "qwen"))["spec"] == before)

    await cluster.until(f"{resource.kind} as it was, after {path}", back)


EDITS: tuple[tuple[Resource, tuple[str | int, ...], Change], ...] = (
    (resources.SERVICE, ("selector",), lambda _: {"slipway.dev/model": "other"}),
    (resources.DEPLOYMENT, ("template", "spec", "containers", 0, "image"), lambda _: "example.com/another:1"),
    (resources.NETWORK_POLICY, ("ingress",), lambda rules: [*rules, {}]),  # everybody may call
    (resources.NETWORK_POLICY, ("ingress",), lambda _: []),
    (resources.BUDGET, ("maxUnavailable",), lambda _: 0),
)
"""What a person does to a child, field by field."""


async def test_children_edited_or_deleted_by_hand_heal(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as running:
        await served_f16(cluster)
        for resource in resources.SERVING[:4]:
            await made_anew(cluster, resource)
        for edit in EDITS:
            await edit_heals(cluster, *edit)
        await label_comes_back(cluster)
        annotation = {"metadata": {"annotations": {"somebody": "else"}, "labels": {"team": "a"}}}
        await settled(running)
        before = running.kube.writes.total()
        await cluster.patch(resources.SERVICE, "qwen", annotation)
        await settled(running)
        assert running.kube.writes.total() == before
        found = await cluster.get(resources.SERVICE, "qwen")
        assert found["metadata"]["annotations"]["somebody"] == "else"


async def label_comes_back(cluster: Cluster) -> None:
    """The cache is label-selected: without the label, the child seems gone and is not."""
    label = "app.kubernetes.io/managed-by"
    await cluster.patch(resources.SERVICE, "qwen", {"metadata": {"labels": {label: None}}})

    async def back() -> bool:
        found = await cluster.get(resources.SERVICE, "qwen")
        return bool(found["metadata"]["labels"].get(label) == "slipway")

    await cluster.until("the label back", back)


async def test_a_foreign_service_is_never_touched(control_plane: ControlPlane, cluster: Cluster) -> None:
    spec = {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}
    meta = {"name": "qwen", "namespace": cluster.namespace}
    await cluster.kube.create(
        resources.SERVICE, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    )
    before = await cluster.get(resources.SERVICE, "qwen")
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen", optimize=F16)
        await cluster.build_f16()
        ready = await cluster.until_reason("qwen", "Ready", "NameConflict")
        assert ready["status"] == "False"
        assert "Service qwen" in ready["message"]
        await settled(operator)
        assert await cluster.get(resources.SERVICE, "qwen") == before
        await cluster.delete(resources.SERVICE, "qwen")
        await cluster.serve("qwen")
        await cluster.until_reason("qwen", "Ready", "Serving")


async def test_scale_subresource_and_autoscaling(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await served_f16(cluster)
        path = resources.MODEL.path(cluster.namespace, "qwen", "scale")
        headers = {"Content-Type": "application/merge-patch+json"}
        await cluster.kube.request("PATCH", path, body={"spec": {"replicas": 2}}, headers=headers)
        await cluster.serve("qwen", 2)

        async def two() -> bool:
            scale = await cluster.kube.request("GET", path)
            selected = "slipway.dev/model=qwen" in scale["status"]["selector"]
            return selected and scale["status"]["replicas"] == 2

        await cluster.until("scale says two", two)
        await cluster.patch(
            resources.MODEL, "qwen", {"spec": {"autoscaling": {"minReplicas": 1, "maxReplicas": 3}}}
        )

        async def autoscaled() -> bool:
            return bool(await cluster.get(resources.AUTOSCALER, "qwen"))

        await cluster.until("the autoscaler", autoscaled)
        assert (await cluster.get(resources.DEPLOYMENT, "qwen"))["spec"]["replicas"] == 2
        await settled(operator)
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"autoscaling": None}})

        async def pruned() -> bool:
            return not await cluster.get(resources.AUTOSCALER, "qwen")

        await cluster.until("the autoscaler pruned", pruned)
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"replicas": 0}})
        ready = await cluster.until_reason("qwen", "Ready", "ScaledToZero")
        assert ready["status"] == "False"


async def test_deleted_in_the_middle_of_a_job_leaves_nothing(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen")
        await cluster.finish("inspect")
        await cluster.job("fetch")
        await cluster.delete(resources.MODEL, "qwen")
        kinds = (resources.JOB, resources.ARTIFACT, resources.CLAIM, resources.REVISION, resources.POD)

        async def nothing() -> bool:
            return not any([await cluster.list(resource) for resource in kinds])

        await cluster.until("nothing left", nothing)


async def test_spec_changed_in_the_middle_of_a_job(
    control_plane: ControlPlane, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.passes.artifact.YOUNG_SECONDS", 3.0)
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await served(cluster)
        old = await cluster.get(resources.DEPLOYMENT, "qwen")
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"model": {"source": "hf://acme/other"}}})
        await cluster.finish("inspect")
        first = await cluster.job("fetch")
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"model": {"source": "hf://acme/third"}}})
        await cluster.finish("inspect")
        await cluster.until_reason("qwen", "SourceResolved", "Resolved")

        async def dropped() -> bool:
            return not await cluster.get(resources.JOB, first["metadata"]["name"])

        # What served before stays as it is; what was being built for nobody goes.
        await cluster.until("the superseded Job gone", dropped)
        now = await cluster.get(resources.DEPLOYMENT, "qwen")
        assert now["metadata"]["generation"] == old["metadata"]["generation"]
        assert (await cluster.condition("qwen", "Available"))["status"] == "True"
        sources = {raw["spec"]["source"]["uri"] for raw in await cluster.list(resources.ARTIFACT)}
        assert sources == {"hf://acme/model", "hf://acme/third"}


async def test_two_models_share_what_is_equal(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await served(cluster)
        await cluster.model("twin")
        await cluster.finish("inspect")
        await cluster.serve("twin")
        await cluster.until_reason("twin", "Ready", "Serving")
        artifacts = await cluster.list(resources.ARTIFACT)
        assert len(artifacts) == 3

        async def owners() -> set[frozenset[str]]:
            return {
                frozenset(ref["name"] for ref in raw["metadata"]["ownerReferences"])
                for raw in await cluster.list(resources.ARTIFACT)
            }

        async def both() -> bool:
            return await owners() == {frozenset({"qwen", "twin"})}

        await cluster.until("two owners", both)
        await cluster.delete(resources.MODEL, "qwen")

        async def one() -> bool:
            return await owners() == {frozenset({"twin"})}

        await cluster.until("one owner left", one)
        assert len(await cluster.list(resources.ARTIFACT)) == 3


async def test_deleted_and_made_anew_at_once(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await served_f16(cluster)
        old = (await cluster.get(resources.DEPLOYMENT, "qwen"))["metadata"]["uid"]
        await cluster.delete(resources.MODEL, "qwen")
        await cluster.model("qwen", optimize=F16)
        await cluster.build_f16()

        async def anew() -> bool:
            found = await cluster.get(resources.DEPLOYMENT, "qwen")
            return bool(found) and found["metadata"]["uid"] != old

        await cluster.until("a Deployment of the new owner", anew)
        await cluster.serve("qwen")
        await cluster.until_reason("qwen", "Ready", "Serving")


async def test_an_annotation_plans_anew_and_an_upgrade_does_not(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await served_f16(cluster)
    newer = Images(llamacpp="docker.io/slipway/llamacpp:9.9.9")
    async with operating(control_plane.kubeconfig, cluster.namespace, images=newer) as operator:
        await settled(operator)
        assert operator.kube.writes == {}
        await cluster.patch(
            resources.MODEL, "qwen", {"metadata": {"annotations": {"slipway.dev/replan": "1"}}}
        )
        await cluster.finish("inspect")

        async def upgraded() -> bool:
            found = await cluster.get(resources.DEPLOYMENT, "qwen")
            return bool(found["spec"]["template"]["spec"]["containers"][0]["image"] == newer.llamacpp)

        await cluster.until("the new default image", upgraded)
        assert len(await cluster.list(resources.REVISION)) == 2


async def test_what_serves_heals_and_scales_while_another_model_is_made(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await served(cluster)
        template = (await cluster.get(resources.DEPLOYMENT, "qwen"))["spec"]["template"]
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"model": {"source": "hf://acme/other"}}})
        await cluster.job("inspect")
        await made_anew(cluster, resources.SERVICE)
        path = resources.MODEL.path(cluster.namespace, "qwen", "scale")
        headers = {"Content-Type": "application/merge-patch+json"}
        await cluster.kube.request("PATCH", path, body={"spec": {"replicas": 2}}, headers=headers)
        await cluster.serve("qwen", 2)
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"optimize": {"level": "Q9_Z"}}})
        await cluster.until_reason("qwen", "Ready", "UnknownLevel")
        await made_anew(cluster, resources.SERVICE)
        await settled(operator)
        before = operator.kube.writes.total()
        await looked_again(operator)
        assert operator.kube.writes.total() == before
        now = await cluster.get(resources.DEPLOYMENT, "qwen")
        assert now["spec"]["template"] == template
        assert now["spec"]["replicas"] == 2
        available = await cluster.condition("qwen", "Available")
        assert (available["status"], available["message"]) == ("True", "2 engine pods answer")
