"""How often an API is asked that ends every watch at once, as one behind an odd proxy does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from slipway import resources
from slipway.kube import Kube
from slipway.observe.kinds import Watched, owners
from slipway.observe.reflector import BACKOFF_FIRST, BACKOFF_LIMIT, Reflector
from slipway.observe.store import Store
from slipway.observe.trim import whole
from tests.support import virtual_time
from tests.support.virtual_time import now

BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "2"}}}


class Closing:
    """Lists are empty; every watch ends cleanly after what it has to say."""

    def __init__(self, said: list[dict[str, Any]]) -> None:
        self.said = said
        self.watched: list[float] = []

    async def list_page(self, *_: object) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "1"}, "items": []}

    async def watch(self, *_: object) -> AsyncIterator[dict[str, Any]]:
        self.watched.append(now())
        for one in self.said:
            yield one


async def pauses(said: list[dict[str, Any]], seconds: float) -> list[float]:
    """The times between one watch and the next, for so many seconds."""
    api = Closing(said)
    watched = Watched(resources.SERVICE, "", whole, owners)
    reflector = Reflector(cast("Kube", api), watched, Store(owners), lambda *_: None)
    task = asyncio.create_task(reflector.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [later - earlier for earlier, later in zip(api.watched, api.watched[1:], strict=False)]


@pytest.mark.parametrize("said", [[], [BOOKMARK]], ids=["silence", "a bookmark"])
def test_watches_that_end_at_once_are_not_repeated_without_a_pause(
    said: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.0)  # the jitter only shortens
    found = virtual_time.run(pauses(said, 60.0))
    if said:  # a watch that says something lives: it counts as new, and is asked again after the first pause
        assert found == pytest.approx([BACKOFF_FIRST] * len(found))
        return
    doubled = [min(BACKOFF_LIMIT, BACKOFF_FIRST * 2**number) for number in range(len(found))]
    assert found == pytest.approx(doubled)
    assert found[-1] == pytest.approx(BACKOFF_LIMIT)
