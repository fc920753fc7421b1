"""The stage fetch: the files of one commit, whole and verified, in the store. Called by stage.py.

Files grow under ``/store/partial/NAME.part``, lose the ending when their digest is right, and the folder
becomes ``/store/published`` by one rename. A killed try goes on behind its last byte.
"""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from slipway_runtime import files, remote_code
from slipway_runtime.companion_files import holds_tensors, select
from slipway_runtime.contract import MANIFEST
from slipway_runtime.errors import DataError
from slipway_runtime.gguf_fetch import Level, finish
from slipway_runtime.image_copy import PublishedImage, is_copy
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.sources import RemoteFile, Repository, connect, verify
from slipway_runtime.weights import check_weights

PARALLEL = 4
"""Downloads at a time; more would only share the same line."""
PART = ".part"
TRIES = 2
"""A resumed file may hold stale bytes; a fresh one that is wrong again is the hub's own fault."""


def fetch(job: Job) -> dict[str, Any]:
    """Download, verify and publish the commit's files: of GGUF files those of SLIPWAY_LEVEL alone.

    With SLIPWAY_COPY the source is an image of ours, and all its files are published as they were.

    Returns:
        ``{"sizeBytes", "digest", "files"}``, plus ``"resumed": True`` when everything was there already.
    """
    with files.full_disk_as_store_full(job.store):
        whole = files.verify_manifest(job.published, job.progress.report_bytes)
        if whole is not None:
            return {**files.published_summary(job.published, whole), "resumed": True}
        return _fetch(job)


def _fetch(job: Job) -> dict[str, Any]:
    if is_copy(job):
        return _copy(job)
    repository: Repository = Level(connect(job), job.source, job.level) if job.level else connect(job)
    listing = repository.list_files(job.revision)
    if job.level:
        selected = [*listing.files]
    else:
        selected = [*select(listing.files), *(remote_code.python_files(listing) if job.trusts_code else ())]
    folder, entries = _bring(job, repository, listing.commit, selected)
    for file in selected:
        if holds_tensors(file.path):
            check_weights(folder / file.path)
    if job.level:
        entries += finish(folder, selected)
    level = {"level": job.level} if job.level else {}
    recipe = {"source": job.source, "revision": listing.commit, **level}
    files.write_manifest(folder, entries, "fetch", recipe)
    return _publish(job, folder, entries)


def _copy(job: Job) -> dict[str, Any]:
    """Every file of an artifact that was pushed, with its own manifest: it has the same digest again."""
    repository = PublishedImage(job)
    listing = repository.list_files(job.revision)
    folder, entries = _bring(job, repository, listing.commit, [*listing.files])
    return _publish(job, folder, [entry for entry in entries if entry.path != MANIFEST])


def _bring(
    job: Job, repository: Repository, commit: str, selected: list[RemoteFile]
) -> tuple[Path, list[files.FileEntry]]:
    folder = prepare_folder(job.store / "partial", commit, selected)
    total = sum(file.size for file in selected)
    files.check_space(job.store, total - downloaded_bytes(folder, selected))
    with job.progress.sampling(lambda: downloaded_bytes(folder, selected), total):
        entries = fetch_all(repository, commit, selected, folder)
        verify(repository, [(file, folder / file.path) for file in selected])
    return folder, entries


def _publish(job: Job, folder: Path, entries: list[files.FileEntry]) -> dict[str, Any]:
    shutil.rmtree(job.published, ignore_errors=True)  # without a manifest it is nobody's
    files.commit(folder, job.published)
    _note(folder).unlink()
    return files.published_summary(job.published, entries)


def prepare_folder(folder: Path, commit: str, selected: list[RemoteFile]) -> Path:
    """Make the folder and remove from it whatever this commit doesn't have.

    Of another commit's try only files with a digest are kept: nothing tells the bytes of others apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    same = files.read_json(_note(folder)) == {"commit": commit}
    wanted = {folder / file.path for file in selected if same or file.sha256 or file.git_id}
    wanted |= {_part(path) for path in wanted}
    for path in [path for path in folder.rglob("*") if path.is_file() and path not in wanted]:
        path.unlink()
    files.write_json(_note(folder), {"commit": commit})
    return folder


def downloaded_bytes(folder: Path, selected: list[RemoteFile]) -> int:
    """Return how many bytes of these files are on the disk."""
    total = 0
    for file in selected:
        for path in (folder / file.path, _part(folder / file.path)):
            try:
                total += min(file.size, path.stat().st_size)
            except FileNotFoundError:
                continue
            break
    return total


def fetch_all(
    repository: Repository, commit: str, selected: list[RemoteFile], folder: Path
) -> list[files.FileEntry]:
    """Bring all files into the folder, the largest first; the first error ends the stage."""
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        largest_first = sorted(selected, key=lambda file: -file.size)
        futures = [pool.submit(fetch_one, repository, commit, file, folder) for file in largest_first]
        return [future.result() for future in as_completed(futures)]
    finally:
        # Not waited for: after an error or SIGTERM the process ends, and a partial file resumes.
        pool.shutdown(wait=False, cancel_futures=True)


def fetch_one(repository: Repository, commit: str, file: RemoteFile, folder: Path) -> files.FileEntry:
    """Bring one file to its final name in the folder, unless it is there and right."""
    final = folder / file.path
    if final.is_file() and (sha256 := verified_digest(final, file)):
        return files.FileEntry(file.path, file.size, sha256)
    part = _part(final)
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, TRIES + 1):
        repository.download(commit, file, part)
        sha256 = verified_digest(part, file)
        if sha256:
            files.commit(part, final)
            LOGGER.info("%s: %d bytes, sha256 %s", file.path, file.size, sha256)
            return files.FileEntry(file.path, file.size, sha256)
        part.unlink()
        LOGGER.warning("%s: digest differs from the repository's (try %d)", file.path, attempt)
    raise DataError(
        "DigestMismatch",
        f"{file.path} came {TRIES} times with another digest than the repository names: "
        "the hub or something on the way changes it",
    )


def verified_digest(path: Path, file: RemoteFile) -> str:
    """Return the sha256 of the file if its size and its known digest are right, else an empty string."""
    if path.stat().st_size != file.size:
        return ""
    sha256 = files.sha256_of(path)
    if file.sha256 and sha256 != file.sha256:
        return ""
    if file.git_id and git_blob_id(path) != file.git_id:
        return ""
    return sha256


def git_blob_id(path: Path) -> str:
    """Return git's id of a small file, as the hub names it."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _note(folder: Path) -> Path:
    """Return the file beside the folder that names the commit whose files grow in it."""
    return folder.with_name(f"{folder.name}.json")


def _part(path: Path) -> Path:
    return path.with_name(path.name + PART)
