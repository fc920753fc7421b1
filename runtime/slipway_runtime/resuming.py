"""A file that grows by streams which may be cut; each goes on behind its last byte. For sources."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway_runtime.errors import TransientError
from slipway_runtime.log import LOGGER

if TYPE_CHECKING:
    from slipway_runtime.sources import RemoteFile

FRUITLESS = 5
"""Streams in a row that may end without a byte before the download fails, as in huggingface_hub."""
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Stream:
    """Bytes of a file: where the first one belongs, which is 0 from servers that ignore Range.

    The blocks are as they come: a client that collects larger ones first loses them with a cut.
    """

    start: int
    blocks: Iterator[bytes]


def bring(
    file: RemoteFile,
    target: Path,
    open_stream: Callable[[int], AbstractContextManager[Stream]],
    cuts: tuple[type[Exception], ...],
    pause: float = PAUSE_SECONDS,
) -> None:
    """Append to ``target`` until it has the file's size.

    Args:
        file: what is brought.
        target: may hold its first bytes already; longer than the file, it is begun anew.
        open_stream: from a byte on; its errors end the download but for ``cuts``.
        cuts: errors of a connection that ended early.
        pause: seconds after a cut.

    Raises:
        TransientError: HubUnavailable, the last streams ended without a byte.
    """
    have = _usable(file, target)
    fruitless = 0
    while have < file.size:
        cut: Exception | None = None
        try:
            with open_stream(have) as stream:
                _append(file, target, stream)
        except cuts as error:
            cut = error
        came = target.stat().st_size
        fruitless = 0 if came > have else fruitless + 1
        have = came
        if have >= file.size:
            return
        words = f"download of {file.path} was cut at {have} of {file.size} bytes: {cut or 'it ended early'}"
        if fruitless > FRUITLESS:
            raise TransientError("HubUnavailable", f"{words}. It is tried again by itself") from cut
        LOGGER.warning("%s", words)
        time.sleep(pause)


def _usable(file: RemoteFile, target: Path) -> int:
    """Return how many bytes of the file are there already, and make the target."""
    have = target.stat().st_size if target.exists() else 0
    if have > file.size:
        target.unlink()
        have = 0
    if have:
        LOGGER.info("%s: going on behind %d of %d bytes", file.path, have, file.size)
    target.touch()
    return have


def _append(file: RemoteFile, target: Path, stream: Stream) -> None:
    """Write what the stream brings, up to the file's size; clients compare checksums at the stream's end."""
    with target.open("r+b") as out:
        out.seek(stream.start)
        out.truncate()
        left = file.size - stream.start
        for block in stream.blocks:
            out.write(block[:left])
            left -= len(block)
            if left < 0:
                break  # more than it promised: the caller compares digests
