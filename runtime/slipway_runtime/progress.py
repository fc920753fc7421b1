"""Says how far a stage is, to the operator each second and to people every five. Called by stages."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from slipway_runtime.contract import PROGRESS_PREFIX
from slipway_runtime.log import LOGGER

MACHINE_SECONDS = 1.0
"""The operator reads the tail of the log: more lines would only push others out."""
HUMAN_SECONDS = 5.0
UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def format_bytes(count: float) -> str:
    """Return a byte count as a person reads it, ``257.0 MiB``."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def format_seconds(seconds: float) -> str:
    """Return a duration as a person reads it, ``1h02m`` or ``3m05s`` or ``12s``."""
    whole = round(seconds)
    minutes, seconds_left = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes_left:02d}m"
    return f"{minutes}m{seconds_left:02d}s" if minutes else f"{whole}s"


@dataclass
class Progress:
    """How far one stage is. Thread-safe; percent never goes back.

    Attributes:
        stage: name in every line.
        out: where machine lines go; the operator tails it.
        clock: monotonic seconds.
    """

    stage: str
    out: TextIO
    clock: Callable[[], float] = time.monotonic
    _begun: tuple[float, float] | None = None
    _machine_at: float = float("-inf")
    _human_at: float = float("-inf")
    _percent: int = -1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def report(self, done: float, total: float, *, in_bytes: bool = False) -> None:
        """Say that ``done`` of ``total`` is behind us; ``in_bytes`` when bytes are counted."""
        with self._lock:
            done = min(done, total)  # totals are estimates where a tool decides the size
            now = self.clock()
            begun_at, begun_with = self._begun = self._begun or (now, done)
            percent = max(0, self._percent, min(100, int(100 * done / total)) if total > 0 else 0)
            finished = percent == 100 and self._percent < 100  # noqa: PLR2004 - per cent
            if finished or now - self._machine_at >= MACHINE_SECONDS:
                self._machine_at, self._percent = now, percent
                self._write(percent, done, total, in_bytes=in_bytes)
            if finished or now - self._human_at >= HUMAN_SECONDS:
                self._human_at = now
                rate = (done - begun_with) / (now - begun_at) if now > begun_at else 0.0
                LOGGER.info("%s", describe(self.stage, (done, total), percent, rate, in_bytes=in_bytes))

    def _write(self, percent: int, done: float, total: float, *, in_bytes: bool) -> None:
        line: dict[str, object] = {"stage": self.stage, "percent": percent}
        if in_bytes:
            line |= {"bytesDone": int(done), "bytesTotal": int(total)}
        self.out.write(PROGRESS_PREFIX + json.dumps(line) + "\n")
        self.out.flush()

    def report_bytes(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` bytes are behind us."""
        self.report(done, total, in_bytes=True)

    @contextmanager
    def sampling(self, measure: Callable[[], float], total: float, interval: float = 1.0) -> Iterator[None]:
        """Report ``measure()`` bytes of ``total`` every ``interval`` seconds while the body runs."""
        stop = threading.Event()

        def sample() -> None:
            self.report(measure(), total, in_bytes=True)
            while not stop.wait(interval):
                self.report(measure(), total, in_bytes=True)

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield
            self.report(measure(), total, in_bytes=True)
        finally:
            stop.set()
            thread.join()


def describe(stage: str, amount: tuple[float, float], percent: int, rate: float, *, in_bytes: bool) -> str:
    """Return one sentence: what, how far, how fast, how long still; ``rate`` a second, 0 if unknown."""
    done, total = amount
    if in_bytes:
        parts = [f"{stage}: {percent} % ({format_bytes(done)} of {format_bytes(total)})"]
        if rate > 0:
            parts.append(f"{format_bytes(rate)}/s")
    else:
        parts = [f"{stage}: {percent} % ({done:.0f} of {total:.0f})"]
    if rate > 0 and done < total:
        parts.append(f"about {format_seconds((total - done) / rate)} left")
    return ", ".join(parts)
