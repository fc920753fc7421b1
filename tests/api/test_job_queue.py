"""Jobs that wait for their turn, against a real API server and Job controller: for a slot, and for Kueue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.kube import Raw
from slipway.observe.job_states import counts
from tests.support.cluster import Cluster, ended, stage_of
from tests.support.operating import F16, fresh_namespace, looked_again, operating, settled
from tests.support.stage_results import RESULTS

pytestmark = [pytest.mark.api, pytest.mark.timeout(240)]
QUEUE = "kueue.x-k8s.io/queue-name"


class History:
    """Every version of every Job of some namespaces, in the order in which etcd took them."""

    def __init__(self) -> None:
        self.events: list[Raw] = []

    async def follow(self, cluster: Cluster, version: str) -> None:
        since = {"resourceVersion": version}
        async for event in cluster.kube.watch(resources.JOB, cluster.namespace, since, 300):
            assert event["type"] != "ERROR", event
            if event["type"] != "BOOKMARK":
                self.events.append(event)

    def at_once(self) -> Iterator[list[str]]:
        """Names of the unfinished Jobs that count, after each event."""
        unfinished: dict[str, str] = {}
        for event in sorted(self.events, key=lambda one: int(one["object"]["metadata"]["resourceVersion"])):
            job = event["object"]
            uid, name = job["metadata"]["uid"], job["metadata"]["name"]
            if event["type"] == "DELETED" or ended(job):
                unfinished.pop(uid, None)
            elif counts(job):
                unfinished[uid] = name
            yield sorted(unfinished.values())

    def starts(self, stage: str) -> list[str]:
        """Namespaces of the Jobs of a stage, in the order in which they were made."""
        made = [one["object"] for one in self.events if one["type"] == "ADDED"]
        made.sort(key=lambda job: int(job["metadata"]["resourceVersion"]))
        return [job["metadata"]["namespace"] for job in made if stage_of(job) == stage]


@asynccontextmanager
async def recorded(*clusters: Cluster) -> AsyncIterator[History]:
    """Record the Jobs of new namespaces."""
    history = History()
    tasks = []
    for cluster in clusters:
        page = await cluster.kube.list_page(resources.JOB, cluster.namespace, {})
        tasks.append(asyncio.create_task(history.follow(cluster, page["metadata"]["resourceVersion"])))
    try:
        yield history
        assert not any(task.done() for task in tasks), "a watch ended"
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def says(cluster: Cluster, reason: str, count: int) -> list[str]:
    """Messages of that many artifacts whose Ready has this reason, once they have."""

    async def probe() -> list[str] | None:
        found = []
        for raw in await cluster.list(resources.ARTIFACT):
            conditions = raw.get("status", {}).get("conditions", [])
            found += [
                one["message"] for one in conditions if one["type"] == "Ready" and one["reason"] == reason
            ]
        return found if len(found) == count else None

    return list(await cluster.until(f"{count} artifacts {reason}", probe))


async def play_kubelet(*clusters: Cluster) -> None:
    """End the pod of every Job that has one."""
    for cluster in clusters:
        for job in await cluster.list(resources.JOB):
            if not ended(job) and not job.get("status", {}).get("succeeded"):
                selector = f"batch.kubernetes.io/controller-uid={job['metadata']['uid']}"
                for pod in await cluster.list(resources.POD, selector):
                    await cluster.end_pod(pod, 0, RESULTS[stage_of(job)])


@pytest.fixture
def by_events_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the queue by the clock: what waits is woken, or waits for ever."""
    monkeypatch.setattr("slipway.passes.artifact.QUEUED_SECONDS", 3600.0)


@pytest.mark.usefixtures("by_events_alone")
async def test_one_job_at_once_and_all_get_their_turn(control_plane: ControlPlane, cluster: Cluster) -> None:
    other = Cluster(cluster.kube, await fresh_namespace(cluster.kube))
    both = (cluster, other)
    wished: dict[str, Any] = {
        "watch_namespaces": tuple(one.namespace for one in both),
        "job_limit": 1,
    }
    async with AsyncExitStack() as stack:
        history = await stack.enter_async_context(recorded(*both))
        async with operating(control_plane.kubeconfig, cluster.namespace, **wished) as operator:
            await cluster.model("first", optimize=F16)
            await cluster.finish("inspect")
            await cluster.job("fetch")
            # Inspections do not wait for that.
            await cluster.model("second", "hf://acme/another", optimize=F16)
            await cluster.finish("inspect")
            await says(cluster, "Queued", 1)
            await other.model("first", optimize=F16)
            await other.finish("inspect")
            (there,) = await says(other, "Queued", 1)
            # The other namespace has nothing yet: it is the next.
            assert there.startswith("number 1 in the queue")
            assert there.endswith("now: none in this namespace, 1 in other namespaces")
            await cluster.until_reason("second", "Ready", "Queued")
            await settled(operator)
            (here,) = await says(cluster, "Queued", 1)
            assert here.startswith("number 2 in the queue")
            assert "-fetch-1" in here
            before = operator.kube.writes.total()
            await looked_again(operator)
            assert operator.kube.writes.total() == before

        async def served() -> bool:
            await play_kubelet(*both)
            made = [len(await one.list(resources.DEPLOYMENT)) for one in both]
            return made == [2, 1]

        # Another operator goes on: everything that it needs is in the cluster.
        async with operating(control_plane.kubeconfig, cluster.namespace, **wished) as operator:
            await settled(operator)
            await says(other, "Queued", 1)
            await cluster.until("all three are served", served)
        assert max(map(len, history.at_once())) == 1
        assert history.starts("fetch") == [cluster.namespace, other.namespace, cluster.namespace]
        assert len(history.starts("publish")) == 3
    await other.clear()


@pytest.mark.usefixtures("by_events_alone")
async def test_a_burst_never_gets_more_slots_than_there_are(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    """Passes of many artifacts at once, each of which sees the same free slots."""
    async with (
        recorded(cluster) as history,
        operating(control_plane.kubeconfig, cluster.namespace, job_limit=2),
    ):
        for number in range(6):
            await cluster.model(f"m{number}", f"hf://acme/model{number}", optimize=F16)

        async def fetched() -> bool:
            await play_kubelet(cluster)
            return len(history.starts("fetch")) == 6

        await cluster.until("all six are fetched", fetched)
        assert max(map(len, history.at_once())) == 2


async def let_go(cluster: Cluster, stage: str, *, suspend: bool = False) -> Raw:
    """Play Kueue: admit the Job of a stage once it is there, or take it back."""

    async def probe() -> Raw | None:
        found = await cluster.list(resources.JOB, f"slipway.dev/stage={stage}")
        return found[0] if found and bool(found[0]["spec"].get("suspend")) != suspend else None

    job = dict(await cluster.until(f"a {stage} Job, suspended: {not suspend}", probe))
    assert job["metadata"]["labels"][QUEUE] == "team"
    return await cluster.patch(resources.JOB, job["metadata"]["name"], {"spec": {"suspend": suspend}})


async def test_kueue_decides_when_its_jobs_run_and_may_take_them_back(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace, job_limit=1) as operator:
        await cluster.model("qwen", suspend=True, optimize=F16)
        meta = {"labels": {QUEUE: "team"}}
        await cluster.patch(resources.MODEL, "qwen", {"metadata": meta, "spec": {"suspend": False}})
        found = await cluster.until_reason("qwen", "Ready", "Queued")
        assert "Kueue's queue team" in found["message"]
        await settled(operator)
        assert await cluster.list(resources.POD) == []
        await let_go(cluster, "inspect")
        await cluster.finish("inspect")
        (text,) = await says(cluster, "Queued", 1)
        assert text.endswith("waits for Kueue's queue team")
        await let_go(cluster, "fetch")
        job = await cluster.job("fetch")
        first = await cluster.pod_of(job)
        await cluster.pod_status(first, "Running", {"running": {}})
        await says(cluster, "Building", 1)
        # One of higher priority comes: Kueue suspends the Job, and its pod goes.
        await let_go(cluster, "fetch", suspend=True)
        await says(cluster, "Queued", 1)

        async def gone() -> bool:
            return not await cluster.list(resources.POD, "slipway.dev/stage=fetch")

        await cluster.until("the pod is gone", gone)
        await settled(operator)
        (held,) = await cluster.list(resources.JOB, "slipway.dev/stage=fetch")
        assert (held["metadata"]["uid"], ended(held)) == (job["metadata"]["uid"], False)
        assert "startTime" not in held["status"]  # the deadline counts from the next start on
        await let_go(cluster, "fetch")
        await cluster.finish("fetch")
        await let_go(cluster, "convert")
        await cluster.finish("convert")
        jobs = await cluster.list(resources.JOB, "slipway.dev/stage=fetch")
        assert [one["metadata"]["annotations"]["slipway.dev/try"] for one in jobs] == ["1"]
