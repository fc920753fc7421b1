"""The operator killed in the middle of a pass: the next one goes on and makes nothing twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.apply import Applier
from slipway.kube import Kube
from slipway.observe.observer import Observer
from slipway.observe.slots import Slots
from slipway.reconcile import Reconciler
from slipway.settings import Settings
from tests.support.cluster import Cluster, ended, owner_of, stage_of
from tests.support.operating import connected, made

pytestmark = [pytest.mark.api, pytest.mark.timeout(240)]
KINDS = (resources.JOB, resources.REVISION, resources.ARTIFACT, resources.CLAIM, *resources.SERVING[:4])
JOBS = {
    ("inspect", "qwen"): 1,
    ("fetch", "source"): 1,
    ("convert", "f16"): 1,
    ("evaluate", "f16"): 1,
    ("publish", "f16"): 1,
    ("quantize", "q4-k-m"): 1,
    ("evaluate", "q4-k-m"): 1,
    ("publish", "q4-k-m"): 1,
    ("benchmark", "qwen"): 1,
}
"""Every Job of one model, by stage and by whose it is."""


class KilledError(BaseException):
    """The operator died here."""


class Mortal(Kube):
    """A client whose process dies right after its nth write was answered."""

    left = 0

    async def _bytes(self, method: str, *args: Any) -> bytes:
        answer = await super()._bytes(method, *args)
        if method != "GET":
            self.left -= 1
            if self.left == 0:
                raise KilledError
        return answer


async def test_killed_after_any_write_the_next_one_goes_on_and_makes_nothing_twice(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    """Die after the first write, then after the second of the next life, and so on, along the whole path."""
    async with AsyncExitStack() as stack:
        seen = {one.kind: await stack.enter_async_context(made(cluster, one)) for one in KINDS}
        await cluster.model("qwen")
        assert await lives(control_plane, cluster) > 10
        assert (await cluster.condition("qwen", "Ready"))["status"] == "True"
        jobs = seen["Job"].objects
        assert Counter(map(stage_and_owner, jobs)) == JOBS
        assert all(raw["metadata"]["name"].endswith("-1") for raw in jobs)
        once = {kind: Counter(found.names()) for kind, found in seen.items()}
        assert {kind: max(names.values()) for kind, names in once.items()} == dict.fromkeys(once, 1)
        assert (len(once["ControllerRevision"]), len(once["ModelArtifact"])) == (1, 3)


def stage_and_owner(job: dict[str, Any]) -> tuple[str, str]:
    """What a Job does, and for what: the model, or the artifact's recipe as its name says it."""
    owner = owner_of(job)
    recipe = owner.removeprefix("model-").rpartition("-")[0]
    return stage_of(job), recipe or owner


async def lives(control_plane: ControlPlane, cluster: Cluster) -> int:
    """Live and die until all is done; returns how often it died."""
    died = 0
    for writes in [*range(1, 6)] * 12:
        async with connected(control_plane.kubeconfig) as plain:
            mortal = Mortal(plain.endpoint)
            mortal.left = writes
            try:
                if await live(mortal, cluster):
                    return died
            except KilledError:
                died += 1
            finally:
                await mortal.close()
    raise AssertionError(f"not done after {died} lives")


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


async def live(kube: Kube, cluster: Cluster) -> bool:
    """One life of the operator with a kubelet beside it; returns whether all was done."""
    keys: asyncio.Queue[Any] = asyncio.Queue()
    observer = Observer(kube, (cluster.namespace,), keys.put_nowait, time.monotonic)
    settings = Settings(namespace=cluster.namespace)
    jobs, artifacts = observer.store(resources.JOB), observer.store(resources.ARTIFACT)
    slots = Slots(settings.job_limit, jobs, artifacts, keys.put_nowait, time.monotonic, now)
    applier = Applier(kube, observer.remember, "mortal")
    worker = Reconciler(observer, slots, applier, settings, now)
    watching = asyncio.create_task(observer.run())
    try:
        await observer.synced()
        quiet = 0
        while quiet < 12:
            for key in observer.own_keys():
                await worker.reconcile(key)
            moved = await play_kubelet(cluster)
            quiet = 0 if moved else quiet + 1
            await asyncio.sleep(0.1)
        return True
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def play_kubelet(cluster: Cluster) -> bool:
    """End every Job's pod well and start every engine; returns whether there was something to do."""
    moved = False
    for job in await cluster.list(resources.JOB):
        selector = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
        if not ended(job) and await cluster.list(resources.POD, selector):
            await cluster.finish(stage_of(job))
            moved = True
    for pod in await cluster.engine_pods("qwen"):
        if pod["status"].get("phase") != "Running":
            await cluster.pod_status(pod, "Running", {"running": {}}, ready=True)
            moved = True
    return moved
