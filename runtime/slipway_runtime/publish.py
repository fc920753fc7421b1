"""The stage publish: model, chat template and manifest appear at once, verified. Called by stage.py.

``/store/work`` → ``/store/.publishing`` → one rename → ``/store/published``. Killed anywhere, the next try
ends in the same place. The model is one GGUF file, or a folder whose files are published as they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from slipway_runtime import files, model_folder
from slipway_runtime.artifact import MODEL, find_model, read_maker
from slipway_runtime.contract import MANIFEST
from slipway_runtime.errors import DataError
from slipway_runtime.gguf_file import read_text
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.stores import push_published

CHAT_TEMPLATE = "chat_template.jinja"
TEMPLATE_KEY = "tokenizer.chat_template"


def publish(job: Job) -> dict[str, Any]:
    """Verify the model against its record and publish it.

    Returns:
        ``{"sizeBytes", "digest", "files"}``, plus ``"resumed": True`` when it was published already, and what
        ``stores`` says where SLIPWAY_PUSH_TO names one.
    """
    with files.full_disk_as_store_full(job.store):
        staging = job.store / ".publishing"
        recover(job, staging)
        whole = files.verify_manifest(job.published, job.progress.report_bytes)
        if whole is None:
            return _publish(job, staging) | push_published(job)
        remove_work(job)
        return {**files.published_summary(job.published, whole), **push_published(job), "resumed": True}


def recover(job: Job, staging: Path) -> None:
    """Undo a publication that was killed before its rename: the model goes back to work."""
    folder = job.work / model_folder.FOLDER
    if staging.is_dir() and not (staging / MODEL).is_file() and model_folder.read_maker(job):
        if not folder.exists():
            (staging / MANIFEST).unlink(missing_ok=True)
            files.commit(staging, folder)
        return
    if (staging / MODEL).is_file() and not (job.work / MODEL).exists():
        job.work.mkdir(parents=True, exist_ok=True)
        files.commit(staging / MODEL, job.work / MODEL)
    shutil.rmtree(staging, ignore_errors=True)


def _publish(job: Job, staging: Path) -> dict[str, Any]:
    made = model_folder.read_maker(job)
    return _publish_folder(job, staging, *made) if made else _publish_file(job, staging)


def _publish_folder(job: Job, staging: Path, maker: str, entries: list[files.FileEntry]) -> dict[str, Any]:
    folder, _ = model_folder.find_folder(job)
    total, done = sum(entry.bytes for entry in entries), 0
    for entry in entries:
        if not files.is_whole(folder / entry.path, entry):
            raise _damaged(folder / entry.path, "the bytes of its record are no longer there")
        done += entry.bytes
        job.progress.report(done, total, in_bytes=True)
    shutil.rmtree(staging, ignore_errors=True)
    folder.replace(staging)
    files.write_manifest(staging, entries, maker, {"method": job.method, "level": job.level})
    shutil.rmtree(job.published, ignore_errors=True)  # without a manifest it is nobody's
    files.commit(staging, job.published)
    remove_work(job)
    return files.published_summary(job.published, entries)


def _publish_file(job: Job, staging: Path) -> dict[str, Any]:
    model, promised = find_model(job)
    entry = verified_entry(job, model, promised)
    maker = (read_maker(job) or {}).get("stage", "convert")
    staging.mkdir()
    entries = [entry, *write_chat_template(model, staging)]
    recipe = {"method": job.method, "level": job.level or "F16"}
    files.write_manifest(staging, entries, maker, recipe)
    model.replace(staging / MODEL)
    shutil.rmtree(job.published, ignore_errors=True)  # without a manifest it is nobody's
    files.commit(staging, job.published)
    remove_work(job)
    return files.published_summary(job.published, entries)


def verified_entry(job: Job, model: Path, promised: str) -> files.FileEntry:
    """Reread the model; DataError when its bytes are no longer those that were written."""
    size = model.stat().st_size
    sha256 = files.sha256_of(model, lambda done: job.progress.report(done, size, in_bytes=True))
    if sha256 != promised:
        raise _damaged(model, f"it has sha256 {sha256}, but {promised} was written")
    LOGGER.info("%s verified, sha256 %s", MODEL, sha256)
    return files.FileEntry(MODEL, size, sha256)


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        "DigestMismatch",
        f"{path}: {why}: the volume is damaged. Delete the ModelArtifact with its claim to build it again",
    )


def write_chat_template(model: Path, folder: Path) -> list[files.FileEntry]:
    """Write the chat template that the GGUF file carries; an empty list when it has none (a base model)."""
    template = read_text(model, TEMPLATE_KEY)
    if not template:
        LOGGER.info("the model has no chat template: it completes text, but does not chat")
        return []
    path = folder / CHAT_TEMPLATE
    path.write_text(template, encoding="utf-8")
    return [files.FileEntry(CHAT_TEMPLATE, path.stat().st_size, files.sha256_of(path))]


def remove_work(job: Job) -> None:
    """Remove what only the stages needed; the published folder is whole without it."""
    shutil.rmtree(job.work, ignore_errors=True)
