"""The folder that an export writes to: what is there already stays, what is missing has room. For export."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.cli._export_copy import PART, ExportError, sha256_of, size_of
from slipway.local.served import Package, Text
from slipway_runtime.files import FileEntry, commit
from slipway_runtime.progress import format_bytes

COPY, WRITE, KEEP = "copy", "write", "keep"
EXECUTABLE = 0o755


@dataclass(frozen=True)
class Step:
    """One file of the folder.

    Attributes:
        path: where it goes.
        action: ``copy`` brings it from the pod, ``write`` makes it here, ``keep``: it is there already.
        bytes: its size.
        entry: the artifact's file, if it is one.
        text: the text, if it is one.
    """

    path: Path
    action: str
    bytes: int
    entry: FileEntry | None = None
    text: Text | None = None


async def plan_steps(
    folder: Path, package: Package, entries: Sequence[FileEntry], *, force: bool
) -> list[Step]:
    """Every file of the package, with what there is to do.

    Args:
        folder: where it goes; need not exist.
        package: what belongs there.
        entries: files of the artifact.
        force: replace other files of these names.

    Raises:
        ExportError: another file of that name is there, and ``force`` is not said.
    """
    _refuse_file(folder)
    by_path: Mapping[str, FileEntry] = {entry.path: entry for entry in entries}
    steps = [
        await _copied(folder / place, by_path[source], force=force)
        for source, place in package.copies.items()
    ]
    return steps + [_written(folder / text.path, text, force=force) for text in package.texts]


def check_space(folder: Path, steps: Sequence[Step]) -> None:
    """Refuse before the first byte.

    Raises:
        ExportError: the disk has too few free bytes.
    """
    missing = sum(step.bytes - _partial(step) for step in steps if step.action != KEEP)
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    if free < missing:
        raise ExportError(
            f"{format_bytes(missing)} are still to come, but {format_bytes(free)} are free in {place}: free "
            "some space, or name a folder on another disk by --out"
        )


def write_text(step: Step) -> None:
    """Write a text whole or not at all."""
    if step.text is None:
        return
    step.path.parent.mkdir(parents=True, exist_ok=True)
    temporary = step.path.with_name(f".{step.path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(step.text.content)
        if step.text.executable:
            temporary.chmod(EXECUTABLE)
        commit(temporary, step.path)
    finally:
        temporary.unlink(missing_ok=True)


async def _copied(path: Path, entry: FileEntry, *, force: bool) -> Step:
    there = _has_file(path)
    if there and size_of(path) == entry.bytes and await sha256_of(path) == entry.sha256:
        return Step(path, KEEP, entry.bytes, entry)
    if there and not force:
        raise _taken(path)
    return Step(path, COPY, entry.bytes, entry)


def _written(path: Path, text: Text, *, force: bool) -> Step:
    size = len(text.content)
    there = _has_file(path)
    if there and size_of(path) == size and path.read_bytes() == text.content:
        return Step(path, KEEP, size, None, text)
    if there and not force:
        raise _taken(path)
    return Step(path, WRITE, size, None, text)


def _partial(step: Step) -> int:
    part = step.path.with_name(step.path.name + PART)
    there = size_of(part) if step.action == COPY else 0
    return there if there <= step.bytes else 0


def _refuse_file(folder: Path) -> None:
    """A file where a folder must be, at any height."""
    for each in (folder, *folder.parents):
        if each.exists() and not each.is_dir():
            raise ExportError(f"{each} is a file: name a folder by --out")


def _has_file(path: Path) -> bool:
    """Whether a file is there; anything else in its way is refused."""
    _refuse_file(path.parent)
    if path.is_dir():
        raise ExportError(f"{path} is a folder, but a file of that name belongs there: name another --out")
    return path.is_file()


def _taken(path: Path) -> ExportError:
    return ExportError(
        f"{path} is there and is another file: nothing was touched. Name another folder by --out, or replace "
        "it by --force"
    )
