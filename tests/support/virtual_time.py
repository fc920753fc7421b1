"""An event loop whose clock jumps to the next timer: minutes pass in no time, and always in the same order.

For code that waits and does nothing else: there is no input and output in virtual time, and no thread.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Skipping(selectors.DefaultSelector):
    """Waits for nothing; adds to the clock what it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """What is ready now; a wait without an end, that only a thread or a socket could end, is an error."""
        if timeout is None:
            raise AssertionError("everything waits, and no timer is left to end it")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; ``time`` is seconds since its beginning."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Now."""
        return self._skipping.now


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run to its end in virtual time; returns what it returns."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scenario)


def now() -> float:
    """The clock of the running loop, for code that takes one as an argument."""
    return asyncio.get_running_loop().time()
