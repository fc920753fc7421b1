"""Leader election between real processes: killed, stopped, cut off from the API server."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.leader import LEASE_NAME
from tests.support.cluster import Cluster, owner_of, stage_of
from tests.support.operating import logged, made, replica
from tests.support.proxy import proxied

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]
FAILOVER_SECONDS = 5.0


async def holder(cluster: Cluster) -> str:
    """Who leads: the pod name in the Lease."""
    lease = await cluster.get(resources.LEASE, LEASE_NAME)
    return str(lease.get("spec", {}).get("holderIdentity", "")).split("_", maxsplit=1)[0]


async def led_by(cluster: Cluster, name: str) -> float:
    """Wait for a leader; returns the seconds it took."""
    started = time.monotonic()

    async def leads() -> bool:
        return await holder(cluster) == name

    await cluster.until(f"{name} leads", leads)
    return time.monotonic() - started


@pytest.mark.alone
async def test_the_other_replica_works_within_five_seconds_of_a_kill(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    async with (
        made(cluster, resources.JOB) as jobs,
        replica(control_plane.kubeconfig, cluster.namespace, one) as first,
    ):
        await led_by(cluster, "one")
        async with replica(control_plane.kubeconfig, cluster.namespace, two) as second:
            await logged(two, "in sync")
            await cluster.model("before")
            await cluster.job("inspect")
            first.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            await cluster.model("after", source="hf://acme/after")

            async def taken_up() -> bool:
                return len(await cluster.list(resources.JOB)) == 2

            await cluster.until("the other's first child", taken_up)
            assert time.monotonic() - killed <= FAILOVER_SECONDS
            assert await holder(cluster) == "two"
            await both_go_on(cluster)
            owned = Counter((stage_of(job), owner_of(job)) for job in jobs.objects)
            assert set(owned.values()) == {1}
            assert Counter(stage for stage, _ in owned) == {"inspect": 2, "fetch": 2}
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), 20) == 0
            assert await holder(cluster) == ""


async def both_go_on(cluster: Cluster) -> None:
    """Both models come to their next stage: a Job that is made twice may come as late as that."""
    for _ in range(2):
        await cluster.finish("inspect")

    async def fetching() -> bool:
        return len(await cluster.list(resources.JOB, "slipway.dev/stage=fetch")) == 2

    await cluster.until("both models are fetched", fetching)
    for name in ("before", "after"):
        await cluster.until_reason(name, "ArtifactReady", "Building")


@pytest.mark.alone
async def test_on_sigterm_the_other_replica_leads_at_once(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    async with replica(control_plane.kubeconfig, cluster.namespace, one) as first:
        await led_by(cluster, "one")
        async with replica(control_plane.kubeconfig, cluster.namespace, two):
            await logged(two, "in sync")
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), 20) == 0
            assert await led_by(cluster, "two") < 2


@pytest.mark.alone
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
            await logged(two, "in sync")
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
            await logged(two, "in sync")
            proxy.stall()
            await logged(two, "lease not read", times=2)
            proxy.cut()
            proxy.go_on()
            assert second.returncode is None
            first.send_signal(signal.SIGTERM)
            await led_by(cluster, "two")
