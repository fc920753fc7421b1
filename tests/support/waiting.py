"""Waiting for what a test expects: it ends as soon as it is so, and says what it waited for if never."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE_SECONDS = 60.0
"""Bound of every wait: a busy machine alone must not end it."""
LOOK_SECONDS = 0.05


async def until(what: str, probe: Callable[[], Awaitable[Any]], seconds: float = PATIENCE_SECONDS) -> Any:
    """Look until the probe is truthy; returns what it found.

    Raises:
        AssertionError: it never was.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := await probe():
            return found
        await asyncio.sleep(LOOK_SECONDS)
    raise AssertionError(f"timed out waiting for {what}")
