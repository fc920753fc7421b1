"""Deduplicating, rate-limited queue of keys.

Filled by handlers and reflector, drained by ``serve``'s workers.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from slipway import metrics


class Key(NamedTuple):
    """One object of ours to look at."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


BACKOFF_FIRST: Final = 0.5
"""Seconds before a failed pass is tried again; doubled with each failure."""
BACKOFF_LIMIT: Final = 60.0
"""Seconds at most; an API server that comes back is noticed within a minute."""


def backoff(failures: int, first: float, limit: float, jitter: float) -> float:
    """Exponential backoff with jitter, seconds.

    Args:
        failures: failures in a row, from 1.
        first: seconds after the first failure; doubled with each.
        limit: seconds at most.
        jitter: a random number in [0, 1): the delay is cut by up to a quarter, so that many keys spread out.
    """
    delay = min(limit, first * 2.0 ** min(failures - 1, 32))
    return delay * (1 - jitter / 4)


class Queue:
    """Keys wait once each, however often they are added; one in work is handed out again only after ``done``.

    Args:
        clock: monotonic seconds.
        rand: random numbers in [0, 1) for the jitter.
    """

    def __init__(self, clock: Callable[[], float], rand: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._rand = rand
        self._ready: deque[Key] = deque()
        self._since: dict[Key, float] = {}
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._order = itertools.count()
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self._started = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: Key) -> None:
        """Put a key on the queue now."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._since:
            self._since[key] = self._clock()
            self._ready.append(key)
            self._show_depth()
            self._wake.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Put a key on the queue later; of several such wishes the earliest counts."""
        due = self._clock() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key))
        self._wake.set()

    def add_failed(self, key: Key) -> float:
        """Put a key on the queue after its backoff, which is returned in seconds."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = backoff(count, BACKOFF_FIRST, BACKOFF_LIMIT, self._rand())
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: Key) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Hand out nothing any more: every waiting and later ``get`` returns None."""
        self._closed = True
        self._wake.set()

    async def get(self) -> Key | None:
        """The next key; waits for one. ``done`` must follow. None when the queue is closed.

        The first call starts the queue: on a standby nothing waits, keys are only gathered.
        """
        self._start()
        while not self._closed:
            wait = self._promote()
            if self._ready:
                key = self._ready.popleft()
                self._show_depth()
                metrics.QUEUE_SECONDS.observe(self._clock() - self._since.pop(key))
                self._working.add(key)
                if self._ready:
                    self._wake.set()
                return key
            self._wake.clear()
            if self._closed:
                break
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue
        return None

    def done(self, key: Key) -> None:
        """The key's pass is over; what was added meanwhile is handed out again."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._since = dict.fromkeys(self._since, self._clock())
            self._show_depth()

    def _show_depth(self) -> None:
        metrics.QUEUE_DEPTH.set(len(self._ready) if self._started else 0)

    def _promote(self) -> float | None:
        """Move what is due; returns seconds until the next one, None when nothing waits."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        return max(0.0, self._later[0][0] - now) if self._later else None
