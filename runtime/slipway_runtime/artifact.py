"""The file ``model.gguf`` on its way: convert or quantize makes it, evaluate reads it, publish moves it.

Called by methods, evaluate and publish. A record ``/store/work/STAGE.json`` is written after the file has its
final name, so a record whose digest is right proves a whole file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slipway_runtime import files
from slipway_runtime.errors import NotFoundError
from slipway_runtime.job import Job

MODEL = "model.gguf"
MAKERS = ("convert", "quantize")


def make_model(job: Job, expected_bytes: int, make: Callable[[Path], files.Hashing | None]) -> dict[str, Any]:
    """Let ``make`` write the model under a temporary name, and keep it only when it is whole.

    ``make`` may have begun to hash it when its last byte was written.

    Returns:
        ``{"sizeBytes", "sha256"}``, plus ``"resumed": True`` when an earlier try had made it.
    """
    with files.full_disk_as_store_full(job.store):
        done = find_made(job)
        if done is not None:
            return {**done, "resumed": True}
        job.work.mkdir(parents=True, exist_ok=True)
        files.clear_temporary(job.work)
        # Of a try that was killed before its record: nobody vouches for it, and the next needs its room.
        (job.work / MODEL).unlink(missing_ok=True)
        if expected_bytes:
            files.check_space(job.store, expected_bytes)
        temporary = job.work / f".{MODEL}.tmp"
        try:
            hashing = make(temporary) or files.Hashing(temporary)
            files.sync(temporary)  # and hashed meanwhile: neither waits for the other
            record = {"sizeBytes": temporary.stat().st_size, "sha256": hashing.result()}
            files.commit(temporary, job.work / MODEL)
        finally:
            temporary.unlink(missing_ok=True)
        files.write_json(_record_path(job, job.stage), record)
        return record


def find_made(job: Job) -> dict[str, Any] | None:
    """Return the record of a whole model that was finished before, by this stage or by all; else None."""
    published = files.verify_manifest(job.published, job.progress.report_bytes)
    for entry in published or ():
        if entry.path == MODEL:
            return {"sizeBytes": entry.bytes, "sha256": entry.sha256}
    record = files.read_json(_record_path(job, job.stage))
    model = job.work / MODEL
    if record is None or not model.is_file() or files.sha256_of(model) != record["sha256"]:
        return None
    return {"sizeBytes": record["sizeBytes"], "sha256": record["sha256"]}


def find_model(job: Job) -> tuple[Path, str]:
    """Return the path and the sha256 of this artifact's model: in work, or published already.

    Raises:
        NotFoundError: neither is there: the stage that makes it must end first.
    """
    model = job.work / MODEL
    record = read_maker(job)
    if model.is_file() and record is not None:
        return model, record["sha256"]
    for entry in files.read_manifest(job.published) or ():
        if entry.path == MODEL:
            return job.published / MODEL, entry.sha256
    raise NotFoundError(
        "FileNotFound",
        f"{model} does not exist, or was not finished: stage {' or '.join(MAKERS)} must end first",
    )


def read_maker(job: Job) -> dict[str, Any] | None:
    """Return the record of the stage that made the model in work, its name as ``stage``; else None."""
    for stage in MAKERS:
        record = files.read_json(_record_path(job, stage))
        if record is not None:
            return {**record, "stage": stage}
    return None


def _record_path(job: Job, stage: str) -> Path:
    return job.work / f"{stage}.json"
