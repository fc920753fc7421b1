"""What kubelet and Prometheus see of the operator: /healthz, /readyz and /metrics over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.errors import UnavailableError
from slipway.kube import Kube
from slipway.leader import LEASE_NAME
from slipway.queue import Key
from slipway.reconcile import Reconciler
from slipway.serve import WORKERS, Operator
from tests.support.cluster import Cluster
from tests.support.operating import build_operator, connected, settled
from tests.support.proxy import proxied
from tests.support.waiting import until

pytestmark = [pytest.mark.api, pytest.mark.timeout(120)]


class Pages:
    """The operator's own pages."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address

    async def get(self, page: str) -> tuple[int, str]:
        """Status and text."""
        async with self._session.get(f"http://{self._address}/{page}") as response:
            return response.status, (await response.text()).strip()

    async def until(self, page: str, expected: tuple[int, str]) -> None:
        """Wait for an answer."""

        async def answered() -> bool:
            return await self.get(page) == expected

        await until(f"{page}: {expected}", answered)

    async def metric(self, name: str, **labels: str) -> float:
        """One sample of /metrics, as Prometheus reads it; 0 when it is not there, as for Prometheus."""
        families = text_string_to_metric_families((await self.get("metrics"))[1])
        samples = [one for family in families for one in family.samples]
        return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


class Held:
    """Passes that last until they are let go, and then fail if so wished."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def reconcile(self, _: Key) -> None:
        """One pass."""
        self.begun += 1
        await self.go_on.wait()
        if self.error is not None:
            raise self.error

    async def take_over(self, operator: Operator, keys: int) -> None:
        """Take the place of the operator's passes, with so many keys; every worker is busy with one."""
        operator.reconciler = cast("Reconciler", self)
        for number in range(keys):
            operator.queue.add(Key("ModelDeployment", "nowhere", f"key-{number}"))

        async def busy() -> bool:
            return self.begun == min(keys, WORKERS)

        await until("the workers are busy", busy)


@asynccontextmanager
async def starting(
    kube: Kube, namespace: str, caplog: pytest.LogCaptureFixture, *, election: bool = False
) -> AsyncIterator[tuple[Operator, Pages]]:
    """An operator from the moment on in which it listens; its caches may be empty yet."""
    operator = build_operator(kube, namespace, election=election)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="slipway.serve"):
        running = asyncio.create_task(operator.run())
        try:
            async with aiohttp.ClientSession() as session:
                yield operator, Pages(session, await listening(caplog))
        finally:
            operator.stop()
            assert await asyncio.wait_for(running, 30) == 0


async def listening(caplog: pytest.LogCaptureFixture) -> str:
    """Where it listens, as it says in its log."""

    async def said() -> list[str]:
        return [vars(one)["address"] for one in caplog.records if one.getMessage() == "listening"]

    return str((await until("listening", said))[0])


async def test_ready_once_the_caches_are_full_until_it_is_asked_to_stop(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        proxied(control_plane.kubeconfig, tmp_path) as (proxy, through),
        connected(through) as kube,
    ):
        proxy.stall()
        async with starting(kube, cluster.namespace, caplog) as (operator, pages):
            assert await pages.get("readyz") == (503, "caches are being filled")
            assert await pages.get("healthz") == (200, "ok")
            proxy.go_on()
            await pages.until("readyz", (200, "leading"))
            held = Held()
            await held.take_over(operator, 1)
            operator.stop()
            await pages.until("readyz", (503, "stopping"))
            assert await pages.get("healthz") == (200, "ok")
            held.go_on.set()


async def test_a_standby_is_ready_too_and_says_so(
    control_plane: ControlPlane, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    lease = {
        "apiVersion": resources.LEASE.api_version,
        "kind": resources.LEASE.kind,
        "metadata": {"name": LEASE_NAME, "namespace": cluster.namespace},
        "spec": {"holderIdentity": "another", "leaseTransitions": 0},
    }
    await cluster.kube.create(resources.LEASE, lease)
    async with (
        connected(control_plane.kubeconfig) as kube,
        starting(kube, cluster.namespace, caplog, election=True) as (_, pages),
    ):
        renewals = 0

        async def standing_by() -> bool:
            nonlocal renewals
            renewals += 1  # any change of the Lease is a sign of life
            await cluster.patch(resources.LEASE, LEASE_NAME, {"spec": {"leaseTransitions": renewals}})
            return await pages.get("readyz") == (200, "standing by")

        await until("standing by", standing_by)
        assert await pages.metric("slipway_leader") == 0
        await cluster.patch(resources.LEASE, LEASE_NAME, {"spec": {"holderIdentity": ""}})
        await pages.until("readyz", (200, "leading"))
        assert await pages.metric("slipway_leader") == 1


async def test_metrics_count_passes_writes_errors_and_what_waits(
    control_plane: ControlPlane, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        connected(control_plane.kubeconfig) as kube,
        starting(kube, cluster.namespace, caplog) as (operator, pages),
    ):
        await pages.until("readyz", (200, "leading"))
        passes = {"name": "slipway_reconcile_duration_seconds_count", "kind": "ModelDeployment"}
        seconds = {**passes, "name": "slipway_reconcile_duration_seconds_sum"}
        jobs = {"name": "slipway_api_writes_total", "kind": "Job"}
        before = [await pages.metric(**one) for one in (passes, seconds, jobs)]
        await cluster.model("qwen")
        await cluster.finish("inspect")
        await cluster.until_reason("qwen", "Planned", "Decided")
        await settled(operator)
        after = [await pages.metric(**one) for one in (passes, seconds, jobs)]
        assert after[0] >= before[0] + 2
        assert after[1] > before[1]
        assert after[2] == before[2] + 2  # inspect and fetch
        assert await pages.metric("slipway_cached_objects", kind="ModelDeployment") == 1
        assert await pages.metric("slipway_queue_depth") == 0
        errors = {"kind": "ModelDeployment", "error": "UnavailableError"}
        failed = await pages.metric("slipway_reconcile_errors_total", **errors)
        held = Held()
        await held.take_over(operator, WORKERS + 3)
        assert await pages.metric("slipway_queue_depth") == 3
        held.error = UnavailableError(503, "ServiceUnavailable", "not now")
        held.go_on.set()

        async def counted() -> bool:
            now = await pages.metric("slipway_reconcile_errors_total", **errors)
            return now >= failed + WORKERS + 3

        await until("every failed pass is counted", counted)
