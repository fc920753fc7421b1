"""Wires the operator: caches, election, workers, health and metrics; started by ``slipway run``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from slipway import __version__, metrics, resources
from slipway.apply import Applier
from slipway.endpoint import read_endpoint
from slipway.errors import ApiError
from slipway.handlers import Handlers
from slipway.kube import Kube
from slipway.leader import Elector, LostError
from slipway.observe.observer import Observer
from slipway.observe.slots import Slots
from slipway.queue import Key, Queue
from slipway.reconcile import Reconciler
from slipway.settings import Settings

LOG = logging.getLogger(__name__)
WORKERS: Final = 16
"""Passes at once; they mostly wait for the API server."""
DRAIN_SECONDS: Final = 10.0
"""Time for running passes to end after SIGTERM; the pod's grace period is 30 s."""


@dataclass(frozen=True)
class Options:
    """Command line of ``slipway run``.

    Attributes:
        host: address of health and metrics.
        port: of health and metrics; 0 takes a free one.
    """

    kubeconfig: str | None = None
    context: str | None = None
    host: str = "0.0.0.0"  # noqa: S104 - kubelet and Prometheus come from other addresses of the pod network
    port: int = 8080
    election: bool = True


def _now() -> datetime:
    return datetime.now(UTC)


class Operator:
    """The running operator; one for each process."""

    def __init__(self, kube: Kube, settings: Settings, options: Options) -> None:
        name = os.environ.get("POD_NAME") or socket.gethostname()
        self.identity = f"{name}_{uuid.uuid4().hex[:8]}"
        self.kube = kube
        self.queue = Queue(time.monotonic)
        self.observer = Observer(kube, settings.watch_namespaces, self.queue.add, time.monotonic)
        jobs, artifacts = (self.observer.store(resource) for resource in (resources.JOB, resources.ARTIFACT))
        slots = Slots(settings.job_limit, jobs, artifacts, self.queue.add, time.monotonic, _now)
        applier = Applier(kube, self.observer.remember, name)
        self.reconciler = Reconciler(self.observer, slots, applier, settings, _now)
        self.elector = Elector(kube, settings.namespace, self.identity, time.monotonic, _now)
        self.handlers = Handlers(kube.endpoint, settings.watch_namespaces, self.queue.add)
        self._options = options
        self._draining = asyncio.Event()

    def stop(self) -> None:
        """End gracefully: running passes end, the Lease is given back."""
        self._draining.set()

    async def run(self) -> int:
        """Work until ``stop``; returns the exit code: 1 when leadership was lost."""
        runner = await self._listen()
        background: list[asyncio.Task[Any]] = [
            asyncio.create_task(self.observer.run(), name="observer"),
            asyncio.create_task(self._watch_own_kinds(), name="handlers"),
            asyncio.create_task(self._lead(), name="election"),
        ]
        workers = [asyncio.create_task(self._worker(), name=f"worker-{number}") for number in range(WORKERS)]
        stop = asyncio.create_task(self._draining.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([stop, *background], return_when=asyncio.FIRST_COMPLETED)
            return await self._end(done - {stop}, background, workers)
        finally:
            for task in (*background, *workers, stop):
                task.cancel()
            await asyncio.gather(*background, *workers, stop, return_exceptions=True)
            await runner.cleanup()

    async def _end(
        self,
        failed: set[asyncio.Task[Any]],
        background: list[asyncio.Task[Any]],
        workers: list[asyncio.Task[None]],
    ) -> int:
        if not failed:
            LOG.info("stopping on signal")
            failed = await self._drain(background, workers)
        if failed:
            error = failed.pop().exception()
            LOG.error("stopping", extra={"error": str(error)})
            # Lost leadership: no write may follow, another replica may work already.
            return 1 if isinstance(error, LostError) else 2
        await self.elector.release()
        return 0

    async def _drain(
        self, background: list[asyncio.Task[Any]], workers: list[asyncio.Task[None]]
    ) -> set[asyncio.Task[Any]]:
        """Let running passes end; returns what failed meanwhile: without leadership, they must not go on."""
        self.queue.close()
        if not self.elector.leading.is_set():
            return set()  # a standby has none
        idle = asyncio.create_task(asyncio.wait(workers, timeout=DRAIN_SECONDS), name="drain")
        done, _ = await asyncio.wait([idle, *background], return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        return done - {idle}

    async def _watch_own_kinds(self) -> None:
        # Our own caches prove first that the CRDs are there: kopf would end without them.
        await self.observer.synced()
        await self.handlers.run()

    async def _lead(self) -> None:
        await self.observer.synced()
        LOG.info("in sync", extra={"objects": len(self.observer.own_keys())})
        if self._options.election:
            await self.elector.run()
            return
        self.elector.leading.set()
        await asyncio.Event().wait()

    async def _worker(self) -> None:
        await self.elector.leading.wait()
        while (key := await self.queue.get()) is not None:
            await self._pass(key)

    async def _pass(self, key: Key) -> None:
        started = time.monotonic()
        try:
            after = await self.reconciler.reconcile(key)
        except ApiError as error:
            delay = self.queue.add_failed(key)
            metrics.PASS_ERRORS.labels(key.kind, type(error).__name__).inc()
            LOG.warning(
                "pass failed", extra={"key": str(key), "error": str(error), "retry_seconds": round(delay, 2)}
            )
        except Exception as error:
            # A bug shows for one object; it must not stop the others.
            delay = self.queue.add_failed(key)
            metrics.PASS_ERRORS.labels(key.kind, type(error).__name__).inc()
            LOG.exception("pass failed", extra={"key": str(key), "retry_seconds": round(delay, 2)})
        else:
            self.queue.succeeded(key)
            if after is not None:
                self.queue.add_after(key, after)
        finally:
            self.queue.done(key)
            seconds = time.monotonic() - started
            metrics.PASS_SECONDS.labels(key.kind).observe(seconds)
            LOG.debug("pass", extra={"key": str(key), "seconds": round(seconds, 4)})

    async def _listen(self) -> web.AppRunner:
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, self._options.host, self._options.port)
        await site.start()
        for address in runner.addresses:
            LOG.info("listening", extra={"address": f"{address[0]}:{address[1]}", "version": __version__})
        return runner

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._draining.is_set():
            return web.Response(status=503, text="stopping\n")
        if not self.observer.in_sync:
            return web.Response(status=503, text="caches are being filled\n")
        return web.Response(text="leading\n" if self.elector.leading.is_set() else "standing by\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def serve(settings: Settings, options: Options) -> int:
    """Connect and run the operator; returns the exit code.

    Raises:
        UnavailableError: there is no configuration to connect with.
    """
    endpoint = await read_endpoint(options.kubeconfig, options.context)
    kube = Kube(endpoint)
    operator = Operator(kube, settings, options)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, operator.stop)
    try:
        return await operator.run()
    finally:
        with contextlib.suppress(Exception):
            await kube.close()
