"""How far a copy is, on standard error: on a terminal one line that changes, else some lines. For export."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TextIO

from slipway_runtime.progress import format_bytes, format_seconds

TERMINAL_SECONDS: Final = 1.0
LINE_SECONDS: Final = 5.0
CLEAR: Final = "\r\x1b[K"
"""Back to the line's begin, and the rest of it is gone."""


@dataclass
class Progress:
    """How far the copy is, over all its files.

    Attributes:
        total: bytes in all, those of earlier tries included.
        out: where lines go.
        terminal: whether a person watches there.
        clock: monotonic seconds.
        before: bytes that were there already: they say nothing of the speed.
        done: bytes that are there.
    """

    total: int
    out: TextIO
    terminal: bool
    clock: Callable[[], float] = time.monotonic
    before: int = 0
    done: int = 0
    _begun: float = field(default=-1.0)
    _shown: float = field(default=float("-inf"))
    _line: bool = False

    def found(self, count: int) -> None:
        """``count`` bytes are there from an earlier try."""
        self.before += count
        self.done += count

    def forget(self, found: int, done: int) -> None:
        """A file proved wrong: of its ``done`` bytes, ``found`` were there from an earlier try."""
        self.before -= found
        self.done -= done

    def add(self, name: str, count: int) -> None:
        """``count`` more bytes of this file have come."""
        now = self.clock()
        if self._begun < 0:
            self._begun = self._shown = now
        self.done += count
        last = self.done == self.total
        if last or now - self._shown >= (TERMINAL_SECONDS if self.terminal else LINE_SECONDS):
            self._shown = now
            self._show(f"{name}: {describe(self, now - self._begun)}", last)

    def say(self, text: str) -> None:
        """One whole line, such as that the connection broke."""
        lead = CLEAR if self._line else ""
        self._line = False
        self.out.write(f"{lead}{text}\n")
        self.out.flush()

    def close(self) -> None:
        """Leave the line of progress as it is."""
        if self._line:
            self._line = False
            self.out.write("\n")
            self.out.flush()

    def _show(self, text: str, last: bool) -> None:
        if not self.terminal:
            self.say(text)
            return
        self.out.write(CLEAR + text + ("\n" if last else ""))
        self._line = not last
        self.out.flush()


def describe(progress: Progress, seconds: float) -> str:
    """``43% (1.2 GiB of 2.8 GiB), 85.3 MB/s, ETA 19s``; speed and time once they are known."""
    percent = 100 * progress.done // progress.total if progress.total else 100
    parts = [f"{percent}% ({format_bytes(progress.done)} of {format_bytes(progress.total)})"]
    rate = (progress.done - progress.before) / seconds if seconds > 0 else 0.0
    if rate > 0:
        parts.append(f"{rate / 1e6:.1f} MB/s")
        if progress.done < progress.total:
            parts.append(f"ETA {format_seconds((progress.total - progress.done) / rate)}")
    return ", ".join(parts)
