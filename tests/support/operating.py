"""The operator in this process, or as one of its own, against a real API server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from slipway import resources
from slipway.endpoint import read_endpoint
from slipway.errors import ConflictError
from slipway.kube import REQUEST_SECONDS, Kube, Raw
from slipway.observe.reflector import SILENCE_SECONDS
from slipway.serve import Operator, Options
from slipway.settings import Settings
from tests.support.cluster import Cluster, timestamp
from tests.support.waiting import PATIENCE_SECONDS, until

F16 = {"method": "none", "level": "F16"}
ROOT = Path(__file__).resolve().parents[2]
MINUTES = 5.0
"""Longer than any test: what it watches may well say nothing for a while."""
QUIET_SECONDS = 1.0
"""So long must nothing happen for an operator to count as settled: watch events come within it."""


@asynccontextmanager
async def connected(kubeconfig: Path | str, **options: Any) -> AsyncIterator[Kube]:
    """A client of our own."""
    kube = Kube(await read_endpoint(str(kubeconfig), None), **options)
    try:
        yield kube
    finally:
        await kube.close()


async def fresh_namespace(kube: Kube) -> str:
    """A namespace of this test's own."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await kube.create(
        resources.NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )

    async def account() -> bool:
        path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        return bool(await kube.request("GET", path))

    await Cluster(kube, name).until("the default service account", account)
    return name


def build_operator(kube: Kube, namespace: str, *, election: bool = False, **settings: Any) -> Operator:
    """The operator of one namespace, or of those in settings; not yet started, on a free port of loopback."""
    wished = Settings(**{"namespace": namespace, "watch_namespaces": (namespace,), **settings})
    return Operator(kube, wished, Options(host="127.0.0.1", port=0, election=election))


@asynccontextmanager
async def operating(
    kubeconfig: Path | str,
    namespace: str,
    *,
    request_seconds: float = REQUEST_SECONDS,
    silence_seconds: float = SILENCE_SECONDS,
    **settings: Any,
) -> AsyncIterator[Operator]:
    """The operator, serving one namespace in this process, leading; the bounds are the product's own."""
    async with connected(kubeconfig, request_seconds=request_seconds) as kube:
        operator = build_operator(kube, namespace, **settings)
        for reflector in operator.observer._reflectors:
            reflector._silence = silence_seconds
        running = asyncio.create_task(operator.run())
        try:
            await asyncio.wait_for(operator.elector.leading.wait(), PATIENCE_SECONDS)
            yield operator
        finally:
            operator.stop()
            await asyncio.wait_for(running, 30)


def command(kubeconfig: Path, *arguments: str) -> list[str]:
    """``slipway run`` against this API server, health and metrics on a free port of loopback."""
    address = ["--kubeconfig", str(kubeconfig), "--host=127.0.0.1", "--port=0"]
    return [sys.executable, "-m", "slipway", "run", *address, *arguments]


def environment(namespace: str, **more: str) -> dict[str, str]:
    """The environment of an operator process whose Lease lies in this namespace."""
    sources = f"{ROOT / 'operator'}:{ROOT / 'runtime'}"
    return {**os.environ, "PYTHONPATH": sources, "SLIPWAY_NAMESPACE": namespace, **more}


@asynccontextmanager
async def replica(kubeconfig: Path, namespace: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """``slipway run`` for one namespace as a process of its own, with election; the log names its pod."""
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *command(kubeconfig, "--namespace", namespace),
            stdout=sink,
            stderr=sink,
            env=environment(namespace, POD_NAME=log.stem),
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def log_lines(log: Path) -> Iterator[dict[str, Any]]:
    """What an operator process logged so far; a line that is no JSON is an error."""
    for line in log.read_text("utf-8").splitlines():
        fields: dict[str, Any] = json.loads(line)
        yield fields


async def logged(log: Path, message: str, times: int = 1) -> None:
    """Wait until an operator process has logged this message so often."""

    async def said() -> bool:
        text = await asyncio.to_thread(log.read_text, "utf-8")
        return text.count(f'"message":{json.dumps(message)}') >= times

    await until(f"{times} times {message!r} in {log}", said)


async def a_node(kube: Kube, name: str = "small", memory: str = "8Gi") -> None:
    """A ready node for the planner; no kubelet is behind it, and the tests' control plane believes it so."""
    meta = {"name": name, "labels": {"kubernetes.io/arch": "amd64"}}
    with suppress(ConflictError):
        await kube.create(resources.NODE, {"apiVersion": "v1", "kind": "Node", "metadata": meta})
    now = timestamp()
    amounts = {"cpu": "4", "memory": memory, "ephemeral-storage": "50Gi", "pods": "110"}
    conditions = [{"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}]
    status = {"allocatable": amounts, "capacity": amounts, "conditions": conditions}
    headers = {"Content-Type": "application/merge-patch+json"}
    path = resources.NODE.path(None, name, "status")
    await kube.request("PATCH", path, body={"status": status}, headers=headers)
    await kube.merge_patch(resources.NODE, None, name, {"spec": {"taints": None}})


async def settled(operator: Operator) -> None:
    """Wait for a while in which no pass writes, waits or runs."""
    before: tuple[int, ...] = ()
    deadline = time.monotonic() + PATIENCE_SECONDS
    since = time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        now = (operator.kube.writes.total(), len(operator.queue), len(operator.queue._working))
        if now != before or any(now[1:]):
            before, since = now, time.monotonic()
        assert time.monotonic() < deadline, f"never settled: writes, waiting, working = {now}"
        await asyncio.sleep(0.05)


async def looked_again(operator: Operator) -> None:
    """Every object of ours gets another pass, and all that follows from it is over."""
    for key in operator.observer.own_keys():
        operator.queue.add(key)
    await settled(operator)


async def served(cluster: Cluster, name: str = "qwen", **spec: Any) -> None:
    """A model, served and measured."""
    await cluster.model(name, **spec)
    await cluster.build()
    await measured(cluster, name)


async def served_f16(cluster: Cluster, name: str = "qwen", **spec: Any) -> None:
    """The same without a level: three stages less, for tests of what comes after them."""
    await cluster.model(name, optimize=F16, **spec)
    await cluster.build_f16()
    await measured(cluster, name)


async def measured(cluster: Cluster, name: str) -> None:
    """The model is built: its engine starts, and the benchmark ends."""
    await cluster.serve(name)
    await cluster.until_reason(name, "Ready", "Serving")
    await cluster.finish("benchmark")

    async def has_figures() -> bool:
        return bool((await cluster.get(resources.MODEL, name))["status"].get("benchmark"))

    await cluster.until("the benchmark", has_figures)


class Made:
    """Every object of a kind that was made in a namespace while it was watched, deleted ones included.

    A list at the end would not show what was made, deleted and made again.
    """

    def __init__(self) -> None:
        self.objects: list[Raw] = []

    def names(self) -> list[str]:
        """Their names, in the order in which they came."""
        return [str(raw["metadata"]["name"]) for raw in self.objects]

    async def follow(self, cluster: Cluster, resource: resources.Resource, version: str) -> None:
        """Watch from a version on, until cancelled."""
        since = {"resourceVersion": version}
        async for event in cluster.kube.watch(resource, cluster.namespace, since, MINUTES * 60):
            assert event["type"] != "ERROR", event
            if event["type"] == "ADDED":
                self.objects.append(event["object"])


@asynccontextmanager
async def made(cluster: Cluster, resource: resources.Resource) -> AsyncIterator[Made]:
    """Record what is made of a kind, and what is there now."""
    seen = Made()
    page = await cluster.kube.list_page(resource, cluster.namespace, {})
    seen.objects += page["items"]
    version = page["metadata"]["resourceVersion"]
    following = asyncio.create_task(seen.follow(cluster, resource, version))
    try:
        yield seen
        assert not following.done(), f"the watch of {resource.kind} ended: {following}"
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
