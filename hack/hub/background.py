"""Runs the small hub in a thread of the calling process, on free loopback ports. Called by tests.

with running_hub(root) as endpoint:
    snapshot_download("ORG/NAME", endpoint=endpoint.url)
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hack.hub.faults import Faults
from hack.hub.routes import Hub
from hack.hub.server import Listeners

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 10


@dataclass(frozen=True)
class Endpoint:
    """A hub that runs: its address, its admin address, and the hub itself to look into."""

    url: str
    admin: str
    hub: Hub
    listeners: Listeners
    loop: asyncio.AbstractEventLoop

    def set_faults(self, faults: Faults) -> None:
        """Put faults in force; `Faults()` ends them."""
        applied = asyncio.run_coroutine_threadsafe(self.listeners.apply(faults), self.loop)
        applied.result(START_SECONDS)


@contextmanager
def running_hub(root: Path, page_size: int = 1000) -> Iterator[Endpoint]:
    """Serve `root` until the block ends."""
    hub = Hub(root, page_size)
    listeners = Listeners(hub, HOST, 0, HOST, 0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="hub", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(listeners.start(), loop).result(START_SECONDS)
        public, admin = listeners.ports
        yield Endpoint(f"http://{HOST}:{public}", f"http://{HOST}:{admin}", hub, listeners, loop)
    finally:
        asyncio.run_coroutine_threadsafe(listeners.stop(), loop).result(START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
