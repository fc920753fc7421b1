"""The queue: one place for each key, none lost, failures spread out."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from slipway import metrics
from slipway.queue import BACKOFF_FIRST, BACKOFF_LIMIT, Key, Queue, backoff

A, B = Key("ModelDeployment", "ns", "a"), Key("ModelDeployment", "ns", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_key_waits_once_however_often_it_is_added() -> None:
    queue = Queue(Clock())
    for _ in range(3):
        queue.add(A)
    queue.add(B)
    assert [await queue.get(), await queue.get()] == [A, B]
    assert len(queue) == 0


async def test_a_key_in_work_comes_again_only_after_done() -> None:
    queue = Queue(Clock())
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert await queue.get() == A
    queue.done(A)
    assert len(queue) == 0


async def test_later_means_later_and_the_earliest_wish_counts() -> None:
    clock = Clock()
    queue = Queue(clock)
    queue.add_after(A, 30)
    queue.add_after(A, 10)
    queue.add_after(A, 20)
    clock.now = 9.0
    queue.add(B)
    assert await queue.get() == B
    clock.now = 10.0
    assert await queue.get() == A
    queue.done(A)
    clock.now = 100.0
    queue.add(B)
    queue.done(B)
    assert await queue.get() == B
    assert len(queue) == 0


async def test_a_waiting_worker_wakes_for_an_earlier_wish() -> None:
    queue = Queue(asyncio.get_running_loop().time)
    queue.add_after(A, 60)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after(B, 0.01)
    assert await asyncio.wait_for(waiting, 5) == B


async def test_failures_of_one_key_back_off_and_success_forgets_them() -> None:
    queue = Queue(Clock(), rand=lambda: 0.0)
    delays = [queue.add_failed(A) for _ in range(10)]
    assert delays[:3] == [BACKOFF_FIRST, 2 * BACKOFF_FIRST, 4 * BACKOFF_FIRST]
    assert delays[-1] == BACKOFF_LIMIT
    assert queue.add_failed(B) == BACKOFF_FIRST
    queue.succeeded(A)
    assert queue.add_failed(A) == BACKOFF_FIRST


async def test_a_closed_queue_hands_out_nothing() -> None:
    queue = Queue(Clock())
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.gather(*waiting) == [None] * 3
    queue.add(A)
    assert await queue.get() is None


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_within_its_bounds(failures: int, jitter: float) -> None:
    assert 0.75 * 5 <= backoff(failures, 5, 300, jitter) <= 300


def _waits() -> float:
    return float(metrics.QUEUE_SECONDS._sum.get())


async def test_what_a_standby_gathers_does_not_wait() -> None:
    clock = Clock()
    queue = Queue(clock)
    queue.add(A)
    queue.add(B)
    assert metrics.QUEUE_DEPTH._value.get() == 0
    clock.now = 3600.0
    before = _waits()
    assert await queue.get() == A
    assert metrics.QUEUE_DEPTH._value.get() == 1
    clock.now += 2
    await queue.get()
    assert _waits() - before == 2
