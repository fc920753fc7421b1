"""Replicas that die, API servers that hang, watches that break, operators killed in the middle of a pass."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.apply import Applier
from slipway.kube import Kube, Raw
from slipway.leader import LEASE_NAME
from slipway.observe.observer import Observer
from slipway.reconcile import Reconciler
from slipway.resources import Resource
from slipway.settings import Settings
from tests.support.operating import Cluster, a_node, connected, operating
from tests.support.proxy import proxied

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]
ROOT = Path(__file__).resolve().parents[2]
FAILOVER_SECONDS = 5.0


@asynccontextmanager
async def replica(kubeconfig: Path, namespace: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """``slipway run`` as a process of its own, with election."""
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'runtime'}",
        "SLIPWAY_NAMESPACE": namespace,
        "POD_NAME": log.stem,
    }
    command = [
        sys.executable,
        "-m",
        "slipway",
        "run",
        "--kubeconfig",
        str(kubeconfig),
        "--namespace",
        namespace,
    ]
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *command, "--host", "127.0.0.1", "--port", "0", stdout=sink, stderr=sink, env=env
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def in_sync(log: Path) -> None:
    """Wait until a replica has filled its caches."""
    while True:
        if b"in sync" in await asyncio.to_thread(log.read_bytes):
            return
        await asyncio.sleep(0.1)


async def holder(cluster: Cluster) -> str:
    """Who leads: the pod name in the Lease."""
    lease = await cluster.get(resources.LEASE, LEASE_NAME)
    return str(lease.get("spec", {}).get("holderIdentity", "")).split("_", maxsplit=1)[0]


async def led_by(cluster: Cluster, name: str, seconds: float = 20) -> float:
    """Wait for a leader; returns the seconds it took."""
    started = time.monotonic()

    async def leads() -> bool:
        return await holder(cluster) == name

    await cluster.until(f"{name} leads", leads, seconds)
    return time.monotonic() - started


async def test_the_other_replica_works_within_five_seconds_of_a_kill(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    async with replica(control_plane.kubeconfig, cluster.namespace, one) as first:
        await led_by(cluster, "one")
        async with replica(control_plane.kubeconfig, cluster.namespace, two) as second:
            await in_sync(two)
            await cluster.model("before")
            await cluster.job("inspect")
            first.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            await cluster.model("after")

            async def taken_up() -> bool:
                return len(await cluster.list(resources.JOB)) == 2

            await cluster.until("the other's first child", taken_up)
            assert time.monotonic() - killed <= FAILOVER_SECONDS
            assert await holder(cluster) == "two"
            names = Counter(
                raw["metadata"]["labels"]["slipway.dev/model"] for raw in await cluster.list(resources.JOB)
            )
            assert names == {"before": 1, "after": 1}
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), 20) == 0
            assert await holder(cluster) == ""


async def test_on_sigterm_the_other_replica_leads_at_once(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    async with replica(control_plane.kubeconfig, cluster.namespace, one) as first:
        await led_by(cluster, "one")
        async with replica(control_plane.kubeconfig, cluster.namespace, two):
            await in_sync(two)
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), 20) == 0
            assert await led_by(cluster, "two") < 2


async def test_a_leader_whose_api_server_hangs_ends_before_another_may_lead(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    async with (
        proxied(control_plane.kubeconfig, tmp_path) as (proxy, through),
        replica(through, cluster.namespace, one) as first,
    ):
        await led_by(cluster, "one")
        async with replica(control_plane.kubeconfig, cluster.namespace, two):
            await in_sync(two)
            proxy.stall()
            ending = asyncio.create_task(first.wait())
            taking = asyncio.create_task(led_by(cluster, "two"))
            done, _ = await asyncio.wait([ending, taking], return_when=asyncio.FIRST_COMPLETED)
            assert ending in done
            assert await ending == 1
            await taking
            assert b"could not be renewed" in one.read_bytes()


async def test_a_standby_survives_a_hanging_api_server_and_then_leads(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    async with (
        proxied(control_plane.kubeconfig, tmp_path) as (proxy, through),
        replica(control_plane.kubeconfig, cluster.namespace, one) as first,
    ):
        await led_by(cluster, "one")
        async with replica(through, cluster.namespace, two) as second:
            await in_sync(two)
            proxy.stall()
            await asyncio.sleep(4)
            proxy.cut()
            proxy.go_on()
            assert second.returncode is None
            first.send_signal(signal.SIGTERM)
            await led_by(cluster, "two")


async def test_cut_watches_go_on_and_miss_nothing(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    async with (
        proxied(control_plane.kubeconfig, tmp_path) as (proxy, through),
        operating(through, cluster.namespace),
    ):
        await cluster.model("one")
        await cluster.finish("inspect")
        fetch = await cluster.job("fetch")
        proxy.stall()
        await cluster.model("two", source="hf://acme/two")
        await cluster.delete(resources.JOB, fetch["metadata"]["name"])
        proxy.cut()
        proxy.go_on()
        await cluster.job("inspect")

        async def again() -> bool:
            found = await cluster.list(resources.JOB, "slipway.dev/stage=fetch")
            return bool(found) and found[0]["metadata"]["uid"] != fetch["metadata"]["uid"]

        await cluster.until("the deleted Job made anew", again)


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
    await cluster.model("qwen")
    lives = 0
    for writes in [*range(1, 6)] * 12:
        await a_node(cluster.kube)
        async with connected(control_plane.kubeconfig) as plain:
            mortal = Mortal(plain.endpoint)
            mortal.left = writes
            try:
                if await live(mortal, cluster):
                    break
            except KilledError:
                lives += 1
            finally:
                await mortal.close()
    assert lives > 10
    assert (await cluster.condition("qwen", "Ready"))["status"] == "True"
    stages = Counter(raw["metadata"]["name"] for raw in await cluster.list(resources.JOB))
    assert set(stages.values()) == {1}
    assert all(name.endswith("-1") for name in stages)
    assert len(await cluster.list(resources.REVISION)) == 1
    assert len(await cluster.list(resources.ARTIFACT)) == 3


async def live(kube: Kube, cluster: Cluster) -> bool:
    """One life of the operator with a kubelet beside it; returns whether all was done."""
    keys: asyncio.Queue[Any] = asyncio.Queue()
    observer = Observer(kube, (cluster.namespace,), keys.put_nowait, time.monotonic)
    settings = Settings(namespace=cluster.namespace)
    worker = Reconciler(
        observer, Applier(kube, observer.remember, "mortal"), settings, lambda: datetime.now(UTC)
    )
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
        ended = any(one["status"] == "True" for one in job.get("status", {}).get("conditions", []))
        if not ended and await pods_of(cluster, resources.POD, job):
            await cluster.finish(job["metadata"]["labels"]["slipway.dev/stage"])
            moved = True
    for pod in await cluster.engine_pods("qwen"):
        if pod["status"].get("phase") != "Running":
            await cluster.pod_status(pod, "Running", {"running": {}}, ready=True)
            moved = True
    return moved


async def pods_of(cluster: Cluster, resource: Resource, job: Raw) -> list[Raw]:
    """Pods of a Job."""
    return await cluster.list(resource, f"batch.kubernetes.io/job-name={job['metadata']['name']}")
