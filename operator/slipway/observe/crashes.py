"""What an engine's container logged before it crashed, when its last words say too little.

Called by the observer.

The kubelet keeps 2 KiB or 80 lines of a log's end as the termination message. vLLM's workers say there that
something failed further up, and only the log has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from slipway.errors import ApiError
from slipway.kube import Kube
from slipway.observe.kinds import COMPONENT_LABEL
from slipway.observe.observed import Raw
from slipway.plan.last_words import only_points

LOG = logging.getLogger(__name__)
LINES: Final = 400
"""vLLM writes some 50 lines a traceback, each process its own: eight of them."""
BYTES: Final = 262_144
WAIT_SECONDS: Final = 1.0
"""How long a pass waits for a log; what comes later is shown by the next pass."""
KEPT: Final = 256
"""Logs kept at most; the oldest go first."""


class CrashLogs:
    """Logs of crashed engine containers, each crash's read once, whether or not it could be read."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._held: dict[str, str] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}

    async def of(self, pods: Iterable[Raw]) -> Mapping[str, str]:
        """Pod uid to the log of its engine's last crash, of those whose last words only point at it."""
        crashes = {uid: (key, pod, name) for pod in pods for uid, key, name in _crash(pod)}
        started = [
            self._start(key, pod["metadata"], name)
            for key, pod, name in crashes.values()
            if key not in self._held and key not in self._reading
        ]
        if started:
            await asyncio.wait(started, timeout=WAIT_SECONDS)
        return {uid: self._held[key] for uid, (key, _, _) in crashes.items() if self._held.get(key)}

    def _start(self, key: str, meta: Mapping[str, Any], container: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._read(key, meta, container))
        self._reading[key] = task
        task.add_done_callback(lambda _: self._reading.pop(key, None))
        return task

    async def _read(self, key: str, meta: Mapping[str, Any], container: str) -> None:
        try:
            text = await self._kube.log_before(meta["namespace"], meta["name"], container, LINES, BYTES)
        except ApiError as error:
            LOG.info("a crash's log is not known", extra={"pod": meta["name"], "error": str(error)})
            text = ""
        self._held[key] = text
        while len(self._held) > KEPT:
            del self._held[next(iter(self._held))]


def _crash(pod: Raw) -> Iterator[tuple[str, str, str]]:
    """Pod uid, name of the crash and of the container, when the engine crashed and said too little."""
    if pod["metadata"].get("labels", {}).get(COMPONENT_LABEL) not in ("engine", "engine-worker"):
        return
    for one in (pod["status"].get("containerStatuses") or ())[:1]:
        dead = one.get("lastState", {}).get("terminated")
        # A crash that was got over is nobody's trouble.
        if dead and not one.get("ready") and only_points(dead.get("message", "")):
            uid = pod["metadata"]["uid"]
            # A new run raises the count while its last state is still the crash before.
            crash = dead.get("containerID") or dead.get("finishedAt") or one.get("restartCount", 0)
            yield uid, f"{uid}/{crash}", one["name"]
