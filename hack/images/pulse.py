"""Says every 15 seconds that a step still runs; called by buildah.py and build.py. Standard library only."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

SECONDS = 15.0


class Pulse:
    """For as long as it is entered, prints `what` and the step's age when nothing was said for `seconds`."""

    def __init__(self, what: str, seconds: float = SECONDS) -> None:
        self._what = what
        self._seconds = seconds
        self._said = self._begun = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def say(self, line: str) -> None:
        """Print a line of a new step."""
        self._said = self._begun = time.monotonic()
        print(line, flush=True)

    def _run(self) -> None:
        while not self._ended.wait(max(0.01, self._said + self._seconds - time.monotonic())):
            now = time.monotonic()
            if now - self._said >= self._seconds:
                self._said = now
                print(f"{self._what}: still at it, {now - self._begun:.0f} s", flush=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
