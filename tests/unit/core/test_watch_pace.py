"""How often an API is asked that ends every watch at once, as one behind an odd proxy does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from slipway import resources
from slipway.kube import Kube
from slipway.observe.kinds import Watched, owners
from slipway.observe.reflector import Reflector
from slipway.observe.store import Store
from slipway.observe.trim import whole


class Closing:
    """Lists are empty; every watch ends cleanly after what it has to say."""

    def __init__(self, said: list[dict[str, Any]]) -> None:
        self.said = said
        self.watches = 0

    async def list_page(self, *_: object) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "1"}, "items": []}

    async def watch(self, *_: object) -> AsyncIterator[dict[str, Any]]:
        self.watches += 1
        for one in self.said:
            yield one


@pytest.mark.parametrize(
    "said", [[], [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "2"}}}]]
)
async def test_watches_that_end_at_once_are_not_repeated_without_a_pause(said: list[dict[str, Any]]) -> None:
    api = Closing(said)
    watched = Watched(resources.SERVICE, "", whole, owners)
    reflector = Reflector(cast("Kube", api), watched, Store(owners), lambda *_: None)
    task = asyncio.create_task(reflector.run())
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert 1 < api.watches <= 4
