"""One file from a pod to a disk: continued where it was cut, named once its sha256 is right. For export."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from slipway.cli._export_exec import CutError
from slipway.cli._export_progress import Progress
from slipway.errors import SlipwayError
from slipway_runtime.files import FULL, FileEntry, commit
from slipway_runtime.progress import format_bytes

Read = Callable[[str, int], AsyncGenerator[bytes, None]]
"""A file of the artifact from this byte on."""

PART: Final = ".part"
TRIES: Final = 5
"""In a row without a byte: a pod that is replaced is back within their waits."""
WAIT_SECONDS: Final = 2.0
"""After a try that brought nothing; grows with their number."""
CHUNK: Final = 1 << 20
BREATH: Final = 16
"""Chunks between two looks at what else there is to do, such as Ctrl-C."""
SMALL: Final = 16 << 20
"""Bytes of a manifest or a chat template at most."""


class ExportError(SlipwayError):
    """The export can't be done as asked, or did not come to its end; the message says what to do."""


@dataclass(frozen=True)
class Copying:
    """How files are copied.

    Attributes:
        read: the way to the pod.
        progress: told of every byte.
    """

    read: Read
    progress: Progress


async def copy(copying: Copying, entry: FileEntry, final: Path) -> None:
    """Bring one file; its final name stands only ever for the whole, right file.

    Raises:
        ExportError: it did not come whole; ``NAME.part`` keeps what came, unless its bytes are wrong.
    """
    part = final.with_name(final.name + PART)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not await _fill(copying, entry, part):
            # What an earlier try left was wrong, such as a part of another artifact.
            copying.progress.say(
                f"{part.name} began with other bytes than those published: it is copied anew"
            )
            part.unlink()
            await _fill(copying, entry, part)
    except asyncio.CancelledError:
        copying.progress.say(f"stopped: {_kept(part)}")
        raise
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ExportError(f"the disk is full: free some space; {_kept(part)}") from error
    commit(part, final)


async def _fill(copying: Copying, entry: FileEntry, part: Path) -> bool:
    """Bring what is missing of the part.

    Returns:
        Whether it is right; False only where it began with an earlier try's bytes.

    Raises:
        ExportError: it is wrong though all its bytes came now, or it did not come to its end.
    """
    with part.open("a+b") as file:
        _lock(file, part)
        digest, begun = hashlib.sha256(), size_of(part)
        if begun > entry.bytes:  # no part of this file
            begun = file.truncate(0)
        if begun:
            copying.progress.say(f"{part.name}: {format_bytes(begun)} are there, going on from there")
            copying.progress.found(begun)
            await _hash_into(digest, part)
        await _append(copying, entry, file, digest)
    if digest.hexdigest() == entry.sha256:
        return True
    if not begun:
        raise _damaged(entry, part, digest.hexdigest())
    copying.progress.forget(begun, entry.bytes)
    return False


async def _append(copying: Copying, entry: FileEntry, file: BinaryIO, digest: Any) -> None:
    done, idle = file.seek(0, 2), 0
    while done < entry.bytes:
        before, cause = done, "the pod's file ends too early"
        try:
            async with aclosing(copying.read(entry.path, done)) as chunks:
                async for chunk in chunks:
                    wanted = chunk[: entry.bytes - done]
                    file.write(wanted)
                    digest.update(wanted)
                    done += len(wanted)
                    copying.progress.add(entry.path, len(wanted))
                    if len(wanted) < len(chunk):  # a longer file is another one: its sha256 will say so
                        break
        except CutError as error:
            cause = str(error)
        file.flush()
        if done < entry.bytes:
            idle = idle + 1 if done == before else 1
            await _pause(copying, cause, idle, Path(file.name))


async def _pause(copying: Copying, cause: str, idle: int, part: Path) -> None:
    if idle >= TRIES:
        raise ExportError(f"{cause}; {TRIES} tries brought nothing more; {_kept(part)}")
    copying.progress.say(f"{cause}: going on at {format_bytes(size_of(part))}")
    await asyncio.sleep(WAIT_SECONDS * idle)


def _lock(file: BinaryIO, part: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise ExportError(f"another export writes {part}: wait for it, or name another --out") from error


def _damaged(entry: FileEntry, part: Path, sha256: str) -> ExportError:
    part.unlink()
    return ExportError(
        f"{entry.path} came with sha256 {sha256}, but {entry.sha256} was published: its bytes changed in the "
        f"pod's volume or on the way, so {part} is removed. Export it again; if that gives the same sha256, "
        "the volume is damaged: delete the ModelArtifact with its claim to build it again"
    )


def _kept(part: Path) -> str:
    return f"{part} keeps {format_bytes(size_of(part))}, the same command goes on from there"


def size_of(path: Path) -> int:
    """Bytes of a file; 0 when there is none."""
    return path.stat().st_size if path.is_file() else 0


async def _hash_into(digest: Any, path: Path) -> None:
    with path.open("rb") as file:
        count = 0
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            count += 1
            if count % BREATH == 0:
                await asyncio.sleep(0)


async def sha256_of(path: Path) -> str:
    """The file's sha256 in hex; Ctrl-C is heeded meanwhile."""
    digest = hashlib.sha256()
    await _hash_into(digest, path)
    return digest.hexdigest()


async def read_small(read: Read, path: str) -> bytes:
    """A small file, whole.

    Raises:
        ExportError: it is not small, or did not come.
    """
    for attempt in range(1, TRIES + 1):
        data = b""
        try:
            async with aclosing(read(path, 0)) as chunks:
                async for chunk in chunks:
                    data += chunk
                    if len(data) > SMALL:
                        raise ExportError(
                            f"{path} is larger than {format_bytes(SMALL)}, which none should be"
                        )
        except CutError as error:
            if attempt == TRIES:
                raise ExportError(f"{error}; {TRIES} tries brought nothing") from error
            await asyncio.sleep(WAIT_SECONDS * attempt)
        else:
            return data
    raise AssertionError
