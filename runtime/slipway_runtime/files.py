"""Files that are whole or absent: atomic writes, sha256, manifests, free space. Called by every stage."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from slipway_runtime.contract import MANIFEST
from slipway_runtime.errors import DataError, NotFoundError, RequestError, StoreFullError, TransientError
from slipway_runtime.progress import format_bytes

CHUNK = 1 << 16
"""Bytes read at once for a digest: the buffer stays in the processor's cache (a third faster than 1 MiB)."""
FULL = {errno.ENOSPC, errno.EDQUOT}
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL}
"""What file systems answer that can't lock a folder."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a manifest; the path is relative to the manifest's folder, with forward slashes."""

    path: str
    bytes: int
    sha256: str


def sha256_of(path: Path, seen: Callable[[int], None] | None = None) -> str:
    """Return the file's sha256 as hex; ``seen`` is told the bytes read so far."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    done = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            done += count
            if seen:
                seen(done)
    return digest.hexdigest()


class Hashing:
    """The sha256 of a file, computed by a thread from now on. No executor: its import takes 8 ms."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._then = self._mark()
        self._sha256 = ""
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> str:
        """Return it as hex; computed anew when the file was written to since."""
        self._thread.join()
        return self._sha256 if self._sha256 and self._mark() == self._then else sha256_of(self._path)

    def _run(self) -> None:
        with suppress(OSError):  # the second try says what is wrong
            self._sha256 = sha256_of(self._path)

    def _mark(self) -> tuple[int, int]:
        now = self._path.stat()
        return now.st_size, now.st_mtime_ns


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk; folders need it too, or a rename may be lost with the power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below, and the folder itself."""
    for root, _, names in os.walk(folder):
        for name in names:
            sync(Path(root) / name)
        sync(Path(root))


def commit(temporary: Path, final: Path) -> None:
    """Give a finished file or folder its final name, so that a crash leaves the old state or the new one."""
    if temporary.is_dir():
        sync_tree(temporary)
    else:
        sync(temporary)
    temporary.replace(final)
    sync(final.parent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys under a temporary name, then rename; same value, same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    commit(temporary, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None when the file is absent or holds anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def clear_temporary(folder: Path) -> None:
    """Remove what a killed try left under temporary names in this folder (``.NAME.PID.tmp``)."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def write_manifest(folder: Path, entries: Iterable[FileEntry], stage: str, recipe: dict[str, str]) -> None:
    """Write the folder's manifest: ``{"files": [{"path", "bytes", "sha256"}], "stage", "recipe"}``."""
    files = [entry.__dict__ for entry in sorted(entries, key=lambda entry: entry.path)]
    write_json(folder / MANIFEST, {"files": files, "stage": stage, "recipe": recipe})


def read_manifest(folder: Path) -> list[FileEntry] | None:
    """Return the entries of the folder's manifest, or None when there is none."""
    manifest = read_json(folder / MANIFEST)
    if manifest is None:
        return None
    return [FileEntry(entry["path"], entry["bytes"], entry["sha256"]) for entry in manifest["files"]]


def verify_manifest(
    folder: Path, report: Callable[[int, int], None] = lambda _done, _total: None
) -> list[FileEntry] | None:
    """Reread every byte of a published folder; ``report`` is told the bytes read and their total.

    Returns:
        The entries when all files are whole, None when the folder has no manifest (nothing was published).

    Raises:
        DataError: a file is missing or its bytes changed: the volume is damaged.
    """
    entries = read_manifest(folder)
    total = sum(entry.bytes for entry in entries or ())
    before = 0
    for entry in entries or ():
        if not is_whole(folder / entry.path, entry, partial(_add, report, before, total)):
            raise DataError(
                "DigestMismatch",
                f"{entry.path} in the store differs from its manifest: the volume is damaged. "
                "Delete the ModelArtifact with its claim to build it again",
            )
        before += entry.bytes
    return entries


def is_whole(path: Path, entry: FileEntry, seen: Callable[[int], None] | None = None) -> bool:
    """Whether a file is there with the size and the sha256 of its entry; ``seen`` is told the bytes read."""
    return path.is_file() and path.stat().st_size == entry.bytes and sha256_of(path, seen) == entry.sha256


def _add(report: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    report(before + done, total)


def published_summary(folder: Path, entries: list[FileEntry]) -> dict[str, Any]:
    """Return ``{"sizeBytes", "digest", "files"}``: the digest is the sha256 of the manifest itself."""
    return {
        "sizeBytes": sum(entry.bytes for entry in entries),
        "digest": f"sha256:{sha256_of(folder / MANIFEST)}",
        "files": len(entries),
    }


@contextmanager
def alone(store: Path) -> Iterator[None]:
    """Hold the store's lock for the body: a node that was given up may still run the try before.

    The lock is on the folder, so nothing is left behind. A file system without such locks (some NFS) has
    none; publish verifies every byte there too.

    Raises:
        TransientError: StoreInUse, another process holds it.
    """
    try:
        handle = os.open(store, os.O_RDONLY)
    except FileNotFoundError:  # a stage by hand makes its store itself
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another try still writes to {store}; this one is tried again by itself"
            raise TransientError("StoreInUse", message) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(handle)


def require_file(path: Path, made_by: str) -> Path:
    """Return the path of an existing file; NotFoundError names the stage that should have made it."""
    if not path.is_file():
        raise NotFoundError(
            "FileNotFound",
            f"{path} does not exist: stage {made_by} must end first. Is the claim the right one?",
        )
    return path


def check_space(folder: Path, needed: int) -> None:
    """Refuse before the first byte is written.

    Raises:
        RequestError: StoreTooSmall, the whole volume is smaller than what is needed: a bigger claim is
        needed.
        StoreFullError: StoreFull, it would be large enough but others' bytes are in the way.
    """
    usage = shutil.disk_usage(folder)
    figures = (
        f"{format_bytes(needed)} still to write, "
        f"{format_bytes(usage.free)} of {format_bytes(usage.total)} free in {folder}"
    )
    if usage.total < needed:
        raise RequestError("StoreTooSmall", f"{figures}. Set spec.store.size to a larger size")
    if usage.free < needed:
        raise StoreFullError("StoreFull", f"{figures}. Free some space or set a larger spec.store.size")


@contextmanager
def full_disk_as_store_full(folder: Path) -> Iterator[None]:
    """Turn "no space left on device" of the body into StoreFull with figures."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise store_full(folder) from error


def store_full(folder: Path) -> StoreFullError:
    """Return the error for a store that filled up while a stage wrote to it."""
    usage = shutil.disk_usage(folder)
    return StoreFullError(
        "StoreFull",
        "the store filled up while writing: "
        f"{format_bytes(usage.free)} of {format_bytes(usage.total)} free in {folder}. "
        "Free some space or set a larger spec.store.size",
    )
