"""API servers that hang, watches that break or fall silent, an etcd that dies: nothing is missed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import metrics, resources
from slipway.kube import Raw
from slipway.serve import Operator
from tests.support.cluster import Cluster
from tests.support.operating import connected, operating
from tests.support.proxy import proxied

pytestmark = [pytest.mark.api, pytest.mark.timeout(180)]
REQUEST_SECONDS = 2.0
"""Bound of the operator's requests here, so that an outage need not be long to go beyond it."""
SILENCE_SECONDS = 3.0
"""The same for a silent watch."""


async def deleted_job_made_anew(cluster: Cluster, old: Raw) -> None:
    """Wait for another Job in the place of a deleted one."""

    async def again() -> bool:
        found = await cluster.get(resources.JOB, old["metadata"]["name"])
        return bool(found) and found["metadata"]["uid"] != old["metadata"]["uid"]

    await cluster.until("the deleted Job made anew", again)


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
        await deleted_job_made_anew(cluster, fetch)


async def test_half_open_watches_are_given_up_and_miss_nothing(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    """Nobody ends these connections: neither an error nor an end of file tells that they are dead."""
    bounds = {"request_seconds": REQUEST_SECONDS, "silence_seconds": SILENCE_SECONDS}
    async with (
        proxied(control_plane.kubeconfig, tmp_path) as (proxy, through),
        operating(through, cluster.namespace, **bounds),
    ):
        await cluster.model("one")
        await cluster.finish("inspect")
        fetch = await cluster.job("fetch")
        proxy.leave_half_open()
        await cluster.model("two", source="hf://acme/two")
        await cluster.delete(resources.JOB, fetch["metadata"]["name"])
        await cluster.job("inspect")
        await deleted_job_made_anew(cluster, fetch)
        proxy.cut()  # else the client would wait for the other side's end of TLS


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose Secret is missing is looked at all the time: so passes meet an outage by themselves."""
    monkeypatch.setattr("slipway.observe.reads.SECRET_SECONDS", 0.1)
    monkeypatch.setattr("slipway.passes.attempt.SECRET_POLL_SECONDS", 0.2)


@asynccontextmanager
async def waiting_for_a_secret(plane: ControlPlane, cluster: Cluster) -> AsyncIterator[Operator]:
    """An operator with the model ``one``, which polls for its Secret."""
    async with operating(plane.kubeconfig, cluster.namespace, request_seconds=REQUEST_SECONDS) as operator:
        await cluster.model("one", model={"secretRef": {"name": "hub"}})
        await cluster.until_reason("one", "Ready", "SecretNotFound")
        yield operator


@contextmanager
def paused(plane: ControlPlane, name: str) -> Iterator[None]:
    """A program that hangs: its connections stay open, the kernel takes new ones, nobody answers."""
    plane.pause(name)
    try:
        yield
    finally:
        plane.resume(name)


@contextmanager
def dead(plane: ControlPlane, name: str) -> Iterator[None]:
    """A program that was killed, and is back on its ports at the end."""
    plane.kill(name)
    try:
        yield
    finally:
        # In this thread: what a pool's thread starts ends with that thread.
        plane.restart(name)


async def passes_fail(cluster: Cluster, times: int) -> None:
    """Wait until so many passes met the outage."""
    errors = metrics.PASS_ERRORS.labels("ModelDeployment", "UnavailableError")
    before = errors._value.get()

    async def failed() -> bool:
        return bool(errors._value.get() >= before + times)

    await cluster.until(f"{times} passes failed", failed)


async def all_goes_on(cluster: Cluster) -> None:
    """The model made during the outage is taken up, and so is the Secret that ``one`` waits for."""
    meta = {"name": "hub", "namespace": cluster.namespace}
    token = base64.b64encode(b"hf_token").decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"token": token}}
    await cluster.kube.create(resources.SECRET, secret)

    async def inspected() -> bool:
        jobs = await cluster.list(resources.JOB, "slipway.dev/stage=inspect")
        names = [raw["metadata"]["labels"]["slipway.dev/model"] for raw in jobs]
        return sorted(names) == ["one", "two"]

    await cluster.until("both models are inspected, each once", inspected)


async def test_an_api_server_that_hangs_is_waited_for_and_nothing_is_missed(
    control_plane: ControlPlane, cluster: Cluster, restless: None
) -> None:
    async with (
        connected(control_plane.kubeconfig, request_seconds=120.0) as patient,
        waiting_for_a_secret(control_plane, cluster),
    ):
        # A connection from before: nobody would accept a new one.
        await patient.get(resources.NAMESPACE, None, cluster.namespace)
        with paused(control_plane, "kube-apiserver"):
            asking = asyncio.create_task(
                Cluster(patient, cluster.namespace).model("two", source="hf://acme/two")
            )
            await passes_fail(cluster, 2)
            assert not asking.done()
        await asking
        await all_goes_on(cluster)


async def test_a_killed_etcd_is_waited_for_and_nothing_is_missed(
    control_plane: ControlPlane, cluster: Cluster, restless: None
) -> None:
    async with waiting_for_a_secret(control_plane, cluster):
        with dead(control_plane, "etcd"):
            await passes_fail(cluster, 2)

        async def written() -> bool:
            found = await cluster.get(resources.MODEL, "two")
            return bool(found or await cluster.model("two", source="hf://acme/two"))

        await cluster.until("the API server writes again", written)
        await all_goes_on(cluster)
