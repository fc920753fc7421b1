"""A model as a folder in Hugging Face's layout: a method makes it, evaluate reads it, publish moves it.

``/store/work/model`` with the record ``/store/work/STAGE.json``, which lists every file with its sha256: what
a record vouches for is whole. Called by methods, evaluate and publish; of one GGUF file: artifact.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway_runtime import files
from slipway_runtime.errors import DataError, NotFoundError
from slipway_runtime.files import FileEntry
from slipway_runtime.job import Job

FOLDER = "model"
MAKERS = ("merge", "prune", "distill", "imatrix", "quantize")


def make_folder(
    job: Job, expected_bytes: int, make: Callable[[Path], None], made: dict[str, str] | None = None
) -> dict[str, Any]:
    """Let ``make`` write a model into an empty folder, and keep it only when it is whole.

    Args:
        job: the stage.
        expected_bytes: what is checked to be free first; 0 for nothing.
        make: writes the files; the folder exists and is empty.
        made: what was chosen, name to value; ``make`` may add to it. The record keeps it for a later try.

    Returns:
        ``{"sizeBytes", "files"}``, ``"made"`` where it was given, plus ``"resumed": True`` when an earlier
        try had made it.

    Raises:
        DataError: BrokenWeights, safetensors refuse what they are given; and what ``make`` raises.
        StoreFullError: StoreFull.
    """
    with files.full_disk_as_store_full(job.store):
        done = _find_made(job)
        if done is not None:
            return {**_summary(done), **_kept(job, made), "resumed": True}
        job.work.mkdir(parents=True, exist_ok=True)
        temporary = job.work / f".{FOLDER}.tmp"
        for leftover in (temporary, job.work / FOLDER):  # without a record nobody vouches for it
            shutil.rmtree(leftover, ignore_errors=True)
        if expected_bytes:
            files.check_space(job.store, expected_bytes)
        temporary.mkdir()
        try:
            with files.full_disk_as_store_full(job.store), _safetensors_refusals(job):  # while it is full
                make(temporary)
            entries = list_entries(temporary)
            files.commit(temporary, job.work / FOLDER)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        chosen = {} if made is None else {"made": made}
        listed = [entry.__dict__ for entry in entries]
        files.write_json(record_path(job, job.stage), {"files": listed, **chosen})
        return {**_summary(entries), **chosen}


def find_folder(job: Job) -> tuple[Path, list[FileEntry]]:
    """Return this artifact's model and what its record promises: in work, or published already.

    Raises:
        NotFoundError: neither is there: the stage that makes it must end first.
    """
    folder, maker = job.work / FOLDER, read_maker(job)
    if folder.is_dir() and maker is not None:
        return folder, maker[1]
    entries = files.read_manifest(job.published)
    if entries is not None:
        return job.published, entries
    raise NotFoundError(
        "FileNotFound",
        f"{folder} does not exist, or was not finished: stage {' or '.join(MAKERS)} must end first",
    )


def read_maker(job: Job) -> tuple[str, list[FileEntry]] | None:
    """Return the stage that made the model in work and the entries of its record; None without one."""
    for stage in MAKERS:
        record = files.read_json(record_path(job, stage))
        if record is not None and "files" in record:
            return stage, [FileEntry(**entry) for entry in record["files"]]
    return None


def list_entries(folder: Path) -> list[FileEntry]:
    """Return every file below the folder with its size and sha256, ordered by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [_entry(folder, path) for path in paths]


def record_path(job: Job, stage: str) -> Path:
    """Where a stage leaves the record of what it made."""
    return job.work / f"{stage}.json"


@contextmanager
def _safetensors_refusals(job: Job) -> Iterator[None]:
    """Give safetensors' own error a reason: it is an Exception and nothing more, a full disk among others.

    Known by its name: the runtime image has no safetensors.
    """
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        if any(os.strerror(number) in str(error) for number in files.FULL):
            raise files.store_full(job.store) from error
        raise DataError("BrokenWeights", f"safetensors refuse the weights: {error}") from error


def _kept(job: Job, made: dict[str, str] | None) -> dict[str, dict[str, str]]:
    """What an earlier try chose, by its record; what is known beforehand where that says nothing."""
    if made is None:
        return {}
    record = files.read_json(record_path(job, job.stage)) or {}
    return {"made": {**made, **record.get("made", {})}}


def _entry(folder: Path, path: Path) -> FileEntry:
    return FileEntry(path.relative_to(folder).as_posix(), path.stat().st_size, files.sha256_of(path))


def _find_made(job: Job) -> list[FileEntry] | None:
    published = files.verify_manifest(job.published, job.progress.report_bytes)
    if published is not None:
        return published
    maker = read_maker(job)
    folder = job.work / FOLDER
    if maker is None or maker[0] != job.stage:
        return None
    whole = all(files.is_whole(folder / entry.path, entry) for entry in maker[1])
    return maker[1] if whole else None


def _summary(entries: Iterable[FileEntry]) -> dict[str, Any]:
    known = list(entries)
    return {"sizeBytes": sum(entry.bytes for entry in known), "files": len(known)}
