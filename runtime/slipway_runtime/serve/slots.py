"""Who may generate now, and who waits: a bounded first-in-first-out queue. For the engine."""

from __future__ import annotations

import asyncio
from collections import deque

from slipway_runtime.serve.refusal import Refusal

WAITING_PER_SLOT = 16
"""Requests that may wait for each that may run; who comes later is told to come back."""
RETRY_SECONDS = 1


class Slots:
    """`count` slots; who finds none free waits in order. For one event loop; nothing here blocks a thread."""

    def __init__(self, count: int, waiting_per_slot: int = WAITING_PER_SLOT) -> None:
        self._free = count
        self._count = count
        self._bound = count * waiting_per_slot
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def running(self) -> int:
        """Slots that are taken."""
        return self._count - self._free

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(not turn.done() for turn in self._queue)

    async def take(self) -> None:
        """Return once a slot is the caller's, who must `give_back` it.

        Raises:
            Refusal: 429 when the queue is full, at once.
        """
        if self._free:
            self._free -= 1
            return
        if self.waiting >= self._bound:
            raise Refusal(
                429,
                f"{self._count} requests run and {self._bound} wait, which is all that this server takes: "
                "try again later",
                code="queue_full",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled in the very moment in which the slot was handed over: hand it on.
            if turn.done() and not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Hand the slot to who waits longest, else keep it free."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
