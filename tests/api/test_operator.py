"""The operator against a real API server: the whole path, what it tells on the way, and that it settles."""

from __future__ import annotations

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.kube import Raw
from tests.support.cluster import Cluster
from tests.support.events import posted, told
from tests.support.operating import looked_again, operating, served, settled
from tests.support.stage_results import COMMIT, said

pytestmark = [pytest.mark.api, pytest.mark.timeout(120)]
EVENTS = {
    ("Normal", "ModelDeployment", "Resolved", "SourceResolved"): 1,
    ("Normal", "ModelDeployment", "Decided", "Planned"): 1,
    ("Normal", "ModelDeployment", "Built", "ArtifactReady"): 1,
    ("Normal", "ModelDeployment", "Serving", "Available"): 1,
    ("Normal", "ModelDeployment", "Serving", "Ready"): 1,
    ("Normal", "ModelArtifact", "Built", "Ready"): 3,
}
"""What is told on the way to a served model: each transition once."""


async def test_from_one_object_to_a_served_measured_model(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await served(cluster)
        await settled(operator)
        status = (await cluster.get(resources.MODEL, "qwen"))["status"]
        assert status["url"] == f"http://qwen.{cluster.namespace}.svc.cluster.local:8080/v1"
        demand_served(status)
        revision = await cluster.get(resources.REVISION, status["revision"])
        assert revision["data"]["source"]["commit"] == COMMIT
        events = await posted(cluster)
        assert await told(cluster) == EVENTS
        assert {raw["regarding"]["uid"] for raw in events} == await uids(cluster)
        before = operator.kube.writes.total()
        await looked_again(operator)
        assert operator.kube.writes.total() == before
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await looked_again(operator)
        assert operator.kube.writes == {}
    assert await posted(cluster) == events


def demand_served(status: Raw) -> None:
    """Fail unless this is the status of a served, measured model."""
    assert status["source"]["commit"] == COMMIT
    assert status["plan"]["level"] == "Q4_K_M"
    assert status["qualityLoss"] == "7.2%"
    assert status["readyReplicas"] == 1
    assert [level["concurrency"] for level in status["benchmark"]["levels"]] == [1, 4]
    assert "progress" not in status
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    failed = [one["check"] for one in status["checklist"]["results"] if one["result"] == "FAIL"]
    assert (conditions.pop("ChecklistPassed"), failed) == ("False", ["authentication"])
    assert conditions.pop("Progressing") == "False"
    assert set(conditions.values()) == {"True"}


async def uids(cluster: Cluster) -> set[str]:
    """Of every object of ours in the namespace."""
    found = [await cluster.list(kind) for kind in (resources.MODEL, resources.ARTIFACT)]
    return {raw["metadata"]["uid"] for raws in found for raw in raws}


async def test_a_failure_and_its_end_are_told_once_each(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen")
        await cluster.end("inspect", 66, said("RepositoryNotFound", "x" * 1500))  # longer than a note may be
        await cluster.until_reason("qwen", "Ready", "RepositoryNotFound")
        await looked_again(operator)
        failure = ("Warning", "ModelDeployment", "RepositoryNotFound", "Ready")
        assert await told(cluster) == {failure: 1}
        retry = {"metadata": {"annotations": {"slipway.dev/retry": "1"}}}
        await cluster.patch(resources.MODEL, "qwen", retry)
        await cluster.finish("inspect")
        await cluster.job("fetch")
        await looked_again(operator)
        assert "failure" not in (await cluster.get(resources.MODEL, "qwen"))["status"]
        assert await told(cluster) == {
            failure: 1,
            ("Normal", "ModelDeployment", "Resolved", "SourceResolved"): 1,
            ("Normal", "ModelDeployment", "Decided", "Planned"): 1,
        }


async def test_suspend_touches_nothing_and_resume_goes_on(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen", suspend=True)
        await cluster.until_reason("qwen", "Progressing", "Suspended")
        await settled(operator)
        assert await cluster.list(resources.JOB) == []
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"suspend": False}})
        await cluster.finish("inspect")
        await cluster.job("fetch")
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"suspend": True}})
        await cluster.until_reason("qwen", "Progressing", "Suspended")
        await cluster.finish("fetch")
        await settled(operator)
        assert await cluster.list(resources.JOB, "slipway.dev/stage=convert") == []
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"suspend": False}})
        await cluster.job("convert")
