"""The queue: in order, bounded, and nothing is lost when a waiting request goes away."""

from __future__ import annotations

import asyncio

import pytest

from slipway_runtime.serve.refusal import Refusal
from slipway_runtime.serve.slots import Slots


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_waits_longest_is_next() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take()

    async def wait(number: int) -> None:
        await slots.take()
        order.append(number)
        slots.give_back()

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await settle()
    assert (slots.running, slots.waiting, order) == (1, 5, [])
    slots.give_back()
    await asyncio.gather(*tasks)
    assert (slots.running, slots.waiting, order) == (0, 0, [0, 1, 2, 3, 4])


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    slots = Slots(1, waiting_per_slot=2)
    await slots.take()
    tasks = [asyncio.create_task(slots.take()) for _ in range(2)]
    await settle()
    with pytest.raises(Refusal) as refused:
        await slots.take()
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    for task in tasks:
        task.cancel()
    await settle()
    assert slots.waiting == 0


async def test_the_bound_is_sixteen_times_the_concurrency() -> None:
    slots = Slots(2)
    await slots.take()
    await slots.take()
    tasks = [asyncio.create_task(slots.take()) for _ in range(32)]
    await settle()
    with pytest.raises(Refusal):
        await slots.take()
    for task in tasks:
        task.cancel()
    await settle()


async def test_who_leaves_the_queue_does_not_get_a_slot() -> None:
    slots = Slots(1)
    await slots.take()
    first, second = (asyncio.create_task(slots.take()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    slots.give_back()
    await asyncio.wait_for(second, 1)
    assert slots.running == 1


async def test_a_slot_handed_to_someone_who_leaves_in_that_moment_is_not_lost() -> None:
    slots = Slots(1)
    await slots.take()
    leaving = asyncio.create_task(slots.take())
    await settle()
    slots.give_back()
    leaving.cancel()
    await settle()
    assert leaving.cancelled()
    assert slots.running == 0


async def test_a_newcomer_does_not_overtake_the_queue() -> None:
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await settle()
    slots.give_back()
    newcomer = asyncio.create_task(slots.take())
    await settle()
    assert waiting.done()
    assert not newcomer.done()
    slots.give_back()
    await asyncio.wait_for(newcomer, 1)
