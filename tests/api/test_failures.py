"""What users get wrong and what breaks: a condition that a person understands, and what it takes to go on."""

from __future__ import annotations

import asyncio
import base64

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.plan import stages
from tests.support.cluster import Cluster
from tests.support.operating import a_node, looked_again, operating, served_f16, settled
from tests.support.stage_results import said

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]
RETRY = {"metadata": {"annotations": {"slipway.dev/retry": "1"}}}
PERMANENT = {
    "RepositoryNotFound": 66,
    "RevisionNotFound": 66,
    "NoConfig": 66,
    "GatedRepository": 77,
    "PickleOnly": 65,
    "UnsupportedArchitecture": 65,
    "TruncatedWeights": 65,
}
"""Reason and exit code of every inspection that would fail again."""


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is tried again is tried at once: a try that must not come would be seen."""
    monkeypatch.setattr(stages, "BACKOFF_FIRST", 0.1)


async def test_a_permanent_failure_of_inspect_is_named_and_never_tried_again(
    control_plane: ControlPlane, cluster: Cluster, eager: None
) -> None:
    names = {reason: f"qwen-{reason.lower()}" for reason in PERMANENT}

    async def refused(reason: str, name: str) -> None:
        await cluster.model(name, source=f"hf://acme/{name}")
        pod = await cluster.pod_of(await cluster.job("inspect", model=name))
        await cluster.end_pod(pod, PERMANENT[reason], said(reason))
        ready = await cluster.until_reason(name, "Ready", reason)
        assert ready["message"] == "what happened, where, what to do"
        assert (await cluster.condition(name, "Progressing"))["status"] == "False"

    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await asyncio.gather(*(refused(*each) for each in names.items()))
        await looked_again(operator)
        jobs = await cluster.list(resources.JOB)
        assert len(jobs) == len(PERMANENT)
        # It outlives the Job.
        for job in jobs:
            await cluster.delete(resources.JOB, job["metadata"]["name"])
        await looked_again(operator)
        assert await cluster.list(resources.JOB) == []
        reasons = {(await cluster.condition(name, "Ready"))["reason"]: name for name in names.values()}
        assert reasons == names


async def test_a_permanent_failure_of_an_artifact_reaches_the_model(
    control_plane: ControlPlane, cluster: Cluster, eager: None
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen")
        await cluster.finish("inspect")
        await cluster.end("fetch", 65, said("TruncatedWeights"))
        await cluster.until_reason("qwen", "Ready", "TruncatedWeights")
        await looked_again(operator)
        assert len(await cluster.list(resources.JOB, "slipway.dev/stage=fetch")) == 1
        await cluster.patch(resources.MODEL, "qwen", RETRY)
        await cluster.finish("fetch")
        await cluster.job("convert")


async def test_hub_down_waits_and_goes_on_by_itself(
    control_plane: ControlPlane, cluster: Cluster, eager: None
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen")
        for _ in range(4):
            await cluster.end("inspect", 75, said("HubUnavailable", "the hub does not answer"))
            ready = await cluster.until_reason("qwen", "Ready", "HubUnavailable")
            assert "the hub does not answer" in ready["message"]
        assert len(await cluster.list(resources.JOB)) <= stages.KEPT_FAILED + 2
        await cluster.finish("inspect")
        await cluster.until_reason("qwen", "SourceResolved", "Resolved")


async def test_a_corrected_token_goes_on_by_itself(
    control_plane: ControlPlane, cluster: Cluster, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.observe.reads.SECRET_SECONDS", 0.2)
    monkeypatch.setattr("slipway.passes.attempt.SECRET_POLL_SECONDS", 0.5)
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen", model={"secretRef": {"name": "hub"}})
        ready = await cluster.until_reason("qwen", "Ready", "SecretNotFound")
        assert "hub" in ready["message"]
        assert await cluster.list(resources.JOB) == []
        meta = {"name": "hub", "namespace": cluster.namespace}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"token": "hf_wrong"}}
        await cluster.kube.create(resources.SECRET, secret)
        await cluster.end("inspect", 77, said("TokenRejected"))
        await cluster.until_reason("qwen", "Ready", "TokenRejected")
        await looked_again(operator)
        assert len(await cluster.list(resources.JOB)) == 1
        token = base64.b64encode(b"hf_right").decode()
        await cluster.patch(resources.SECRET, "hub", {"data": {"token": token}})
        await cluster.finish("inspect")
        await cluster.until_reason("qwen", "SourceResolved", "Resolved")
        await settled(operator)


async def test_a_bug_is_tried_three_times(control_plane: ControlPlane, cluster: Cluster, eager: None) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen")
        for _ in range(3):
            await cluster.end("inspect", 1, "Traceback: boom")
        await cluster.until_reason("qwen", "Progressing", "InternalError")
        await looked_again(operator)
        assert "boom" in (await cluster.condition("qwen", "Ready"))["message"]
        names = {raw["metadata"]["name"][-1] for raw in await cluster.list(resources.JOB)}
        assert "4" not in names


async def test_a_killed_stage_resumes_and_a_lost_result_is_read_again(
    control_plane: ControlPlane, cluster: Cluster, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "LAG_SECONDS", 1.0)
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen")
        await cluster.finish("inspect")
        await cluster.end("fetch", 137, "", "Error")
        # The second try ends well, and its pod is gone before anybody reads the result.
        job = await cluster.job("fetch")
        await cluster.end_pod(await cluster.pod_of(job), 0, "")
        name = job["metadata"]["name"]
        again = (await cluster.job("fetch", but={name}))["metadata"]["name"]
        assert again != name
        await cluster.finish("fetch", resumed=True)
        await cluster.job("convert")


async def test_an_image_that_cannot_be_pulled_and_an_unschedulable_pod_are_said(
    control_plane: ControlPlane, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.plan.failures.UNSCHEDULABLE_SECONDS", 0.5)
    monkeypatch.setattr("slipway.passes.attempt.UNSCHEDULABLE_SECONDS", 2.0)
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen")
        pod = await cluster.pod_of(await cluster.job("inspect"))
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}
        await cluster.pod_status(pod, "Pending", waiting)
        ready = await cluster.until_reason("qwen", "Ready", "ImagePullFailed")
        assert "manifest unknown" in ready["message"]
        await cluster.unschedulable(pod, "0/1 nodes are available: 1 Insufficient memory")
        ready = await cluster.until_reason("qwen", "Ready", "Unschedulable")
        assert "Insufficient memory" in ready["message"]
        await cluster.finish("inspect")
        await cluster.until_reason("qwen", "SourceResolved", "Resolved")


async def test_an_engine_that_does_not_start_is_said_while_the_old_one_serves(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await served_f16(cluster)
        old = {pod["metadata"]["name"] for pod in await cluster.engine_pods("qwen")}
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"engine": {"image": "example.com/none:1"}}})
        await cluster.finish("inspect")

        async def candidate() -> dict[str, object] | None:
            pods = [pod for pod in await cluster.engine_pods("qwen") if pod["metadata"]["name"] not in old]
            return pods[0] if pods else None

        pod = await cluster.until("the candidate's pod", candidate)
        waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}
        await cluster.pod_status(pod, "Pending", waiting)
        ready = await cluster.until_reason("qwen", "Ready", "ImagePullFailed")
        assert "example.com/none:1" in ready["message"]
        assert (await cluster.condition("qwen", "Available"))["status"] == "True"


async def test_a_crash_whose_log_cannot_be_read_is_said_in_its_last_words(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    words = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen")
        await cluster.build()

        async def engine() -> dict[str, object] | None:
            return next(iter(await cluster.engine_pods("qwen")), None)

        await cluster.crash(await cluster.until("the engine's pod", engine), words)
        ready = await cluster.until_reason("qwen", "Ready", "CrashLoop")
        assert words in ready["message"]
        await looked_again(operator)
        # Started again it serves: the log that nobody could read was no trouble.
        await cluster.serve("qwen")
        await cluster.until_reason("qwen", "Available", "Serving")


async def test_nothing_fits_until_a_node_comes(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen", engine={"resources": {"memory": "900Gi"}})
        await cluster.finish("inspect")
        ready = await cluster.until_reason("qwen", "Ready", "NothingFits")
        assert "900" in ready["message"]
        await a_node(cluster.kube, f"big-{cluster.namespace}", "1024Gi")
        try:
            await cluster.until_reason("qwen", "Planned", "Decided")
        finally:
            await cluster.delete(resources.NODE, f"big-{cluster.namespace}")


async def test_a_store_too_small_is_refused_before_a_claim_is_made(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await cluster.model("qwen", store={"size": "16Mi"})
        await cluster.finish("inspect")
        await cluster.until_reason("qwen", "Ready", "StoreTooSmall")
        await settled(operator)
        assert await cluster.list(resources.CLAIM) == []
        assert await cluster.list(resources.ARTIFACT) == []
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"store": {"size": "1Gi"}}})
        await cluster.finish("inspect")
        await cluster.job("fetch")


async def test_a_full_store_is_made_anew_when_the_user_gives_more(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen", store={"size": "400Mi"})
        await cluster.finish("inspect")
        await cluster.end("fetch", 73, said("StoreFull"))
        await cluster.until_reason("qwen", "Ready", "StoreFull")
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"store": {"size": "2Gi"}}})
        await cluster.finish("inspect")
        await cluster.job("fetch")

        async def bigger() -> bool:
            claims = await cluster.list(resources.CLAIM)
            return any(raw["spec"]["resources"]["requests"]["storage"] == "2Gi" for raw in claims)

        await cluster.until("the bigger claim", bigger)


async def test_a_loss_above_the_gate_is_not_served(control_plane: ControlPlane, cluster: Cluster) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen", optimize={"maxQualityLoss": "5%"})
        await cluster.build()
        ready = await cluster.until_reason("qwen", "Ready", "QualityBelowGate")
        assert "7.2%" in ready["message"]
        assert await cluster.get(resources.DEPLOYMENT, "qwen") == {}
        await cluster.patch(resources.MODEL, "qwen", {"spec": {"optimize": {"maxQualityLoss": "10%"}}})
        await cluster.serve("qwen")
        await cluster.until_reason("qwen", "Ready", "Serving")


async def test_a_refused_write_is_said_in_the_api_servers_words(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": cluster.namespace},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    path = f"/api/v1/namespaces/{cluster.namespace}/resourcequotas"
    await cluster.kube.request("POST", path, body=quota)

    async def counted() -> bool:
        found = await cluster.kube.request("GET", f"{path}/none")
        return bool(found.get("status", {}).get("hard"))

    await cluster.until("the quota counted", counted)
    async with operating(control_plane.kubeconfig, cluster.namespace):
        await cluster.model("qwen")
        ready = await cluster.until_reason("qwen", "Ready", "ApplyRejected")
        assert "exceeded quota" in ready["message"]
