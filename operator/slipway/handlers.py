"""The only importer of kopf: watches our own two kinds and puts keys on the queue, nothing else.

Started by ``serve``.

It runs in a thread with a loop of its own: when it ends (a watch ERROR is fatal to it) it cancels every
task of its
loop, and that must not be ours. It is started again; meanwhile the reflector brings the same keys.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import kopf

from slipway.api import GROUP, VERSION
from slipway.endpoint import Endpoint
from slipway.queue import Key, backoff

LOG = logging.getLogger(__name__)
KINDS: Final = (("modeldeployments", "ModelDeployment"), ("modelartifacts", "ModelArtifact"))
LOGIN_MINUTES: Final = 5
"""A service account's token is read again this often; it is renewed on disk long before it expires."""
RESTART_FIRST: Final = 1.0
RESTART_LIMIT: Final = 60.0
STOP_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 0.25
"""TLS connections end a moment after they were closed.

The loop must live that long (aiohttp, "Graceful shutdown").
"""


class Handlers:
    """kopf, kept running.

    Args:
        namespaces: those to serve; empty for all.
        enqueue: called in the caller's loop.
    """

    def __init__(self, endpoint: Endpoint, namespaces: Sequence[str], enqueue: Callable[[Key], None]) -> None:
        self._endpoint = endpoint
        self._namespaces = tuple(namespaces)
        self._enqueue = enqueue

    async def run(self) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            stop = threading.Event()
            ended = asyncio.Event()
            thread = threading.Thread(target=self._thread, args=(loop, stop, ended), name="kopf", daemon=True)
            thread.start()
            try:
                await ended.wait()
            finally:
                stop.set()
                if not ended.is_set():
                    await asyncio.to_thread(thread.join, STOP_SECONDS)
            failures += 1
            delay = backoff(failures, RESTART_FIRST, RESTART_LIMIT, 0.0)
            LOG.warning("kopf ended; it is started again", extra={"retry_seconds": delay})
            await asyncio.sleep(delay)

    def _thread(self, loop: asyncio.AbstractEventLoop, stop: threading.Event, ended: asyncio.Event) -> None:
        try:
            asyncio.run(self._operator(loop, stop))
        except Exception:
            LOG.exception("kopf failed")
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

    async def _operator(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        await kopf.operator(
            registry=self._registry(loop),
            settings=operator_settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
        )
        await asyncio.sleep(CLOSE_SECONDS)

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        for plural, kind in KINDS:

            async def on_event(*, name: str, namespace: str | None, kind: str = kind, **_: Any) -> None:
                loop.call_soon_threadsafe(self._enqueue, Key(kind, namespace or "", name))

            kopf.on.event(GROUP, VERSION, plural, registry=registry, id=f"enqueue-{plural}")(on_event)

        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await connection(self._endpoint)

        kopf.on.login(registry=registry)(login)
        return registry


async def connection(endpoint: Endpoint) -> kopf.ConnectionInfo:
    """Our connection in kopf's words."""
    configuration = endpoint.configuration
    scheme, _, token = (await endpoint.headers()).get("authorization", "").partition(" ")
    expiration = datetime.now(UTC) + timedelta(minutes=LOGIN_MINUTES) if token else None
    return kopf.ConnectionInfo(
        server=endpoint.server,
        ca_path=configuration.ssl_ca_cert,
        ca_data=None if configuration.ssl_ca_cert else getattr(configuration, "ca_cert_data", None),
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme.capitalize() or None,
        token=token or None,
        proxy_url=endpoint.proxy or None,
        trust_env=True,
        expiration=expiration,
    )


def operator_settings() -> kopf.OperatorSettings:
    """Leave to us what we do ourselves.

    No events, no state in annotations, no finalizers, no CRD watching.
    """
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    # A worker that idles holds its place: the limit alone would throttle to limit / idle_timeout
    # objects a second.
    settings.queueing.worker_limit = 50
    settings.queueing.idle_timeout = 0.01
    return settings
