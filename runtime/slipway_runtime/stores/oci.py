"""Artifacts as images in a registry that nodes mount, ``oci://REGISTRY/REPOSITORY[:TAG]``. For ``stores``.

Without a tag the image gets one of the artifact's digest. What exists is not uploaded again: neither an image
of this artifact, nor a layer that another one brought.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from slipway_runtime import oci_image
from slipway_runtime.contract import MANIFEST
from slipway_runtime.errors import DataError, NotFoundError
from slipway_runtime.files import FileEntry, read_manifest, sha256_of
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.pinning import PREFIX
from slipway_runtime.registry import OCI_INDEX, OCI_MANIFEST, HiddenError, Registry
from slipway_runtime.registry_reference import DIGEST, Reference, kept_place, parse_reference
from slipway_runtime.registry_upload import Blob, Upload

EXAMPLE = "oci://registry.example.com/models/qwen"

RECORD_LIMIT = 1024
"""Characters of what was kept beside; a longer one was not written by ``push``."""


def push(job: Job, folder: Path, target: str, beside: Mapping[str, Any]) -> dict[str, Any]:
    """Upload a published folder as an image; ``beside`` becomes an annotation of its index.

    Returns:
        ``{"image": "REGISTRY/REPOSITORY@sha256:HEX", "pushedBytes"}``: no bytes for one that was there.
    """
    reference = parse_reference(target, EXAMPLE)
    registry = Registry(job, kept_place(job, reference))
    entries = read_manifest(folder)
    if entries is None:
        raise NotFoundError(
            "FileNotFound", f"{folder} holds no published artifact: stage publish must end first"
        )
    artifact = PREFIX + sha256_of(folder / MANIFEST)
    tag = reference.tag or artifact.replace(":", "-")
    there = _find(registry, tag, artifact)
    if there:
        LOGGER.info("%s:%s holds this artifact already", reference.name, tag)
        return _result(reference, there, 0)
    whole = [*entries, FileEntry(MANIFEST, (folder / MANIFEST).stat().st_size, artifact.removeprefix(PREFIX))]
    upload = Upload(registry)
    layers, pushed = _push_layers(job, upload, folder, whole)
    manifests = {}
    for architecture in oci_image.ARCHITECTURES:
        config = oci_image.build_config(layers, architecture)
        manifest = oci_image.build_manifest(config, layers, artifact)
        upload.put_blob(_blob_of(config))
        upload.put_manifest(oci_image.describe(OCI_MANIFEST, manifest)["digest"], OCI_MANIFEST, manifest)
        manifests[architecture] = manifest
    record = {"sizeBytes": sum(entry.bytes for entry in entries), "files": len(entries), **beside}
    index = oci_image.build_index(manifests, artifact, record)
    upload.put_manifest(tag, OCI_INDEX, index)
    return _result(reference, oci_image.describe(OCI_INDEX, index)["digest"], pushed)


def recall(job: Job, target: str) -> dict[str, Any] | None:
    """Read what the image with this tag says of the artifact in it; None when there is no such image.

    Returns:
        ``{"image", "digest", "sizeBytes", "files"}`` and what was pushed beside.
    """
    reference = parse_reference(target, EXAMPLE)
    registry = Registry(job, kept_place(job, reference))
    try:
        found = registry.manifest(reference.tag)
    except (NotFoundError, HiddenError) as error:
        LOGGER.info("no image is seen there: %s", error.message)
        return None
    annotations = found.document.get("annotations")
    said = annotations if isinstance(annotations, dict) else {}
    try:
        record = json.loads(said.get(oci_image.RECORD, ""))
    except ValueError:
        record = None
    artifact = said.get(oci_image.ARTIFACT)
    if not isinstance(record, dict) or not isinstance(artifact, str):
        LOGGER.warning("%s:%s is an image of something else", reference.name, reference.tag)
        return None
    kept = {name: record[name] for name in ("sizeBytes", "files", "quality") if name in record}
    if len(json.dumps(kept)) > RECORD_LIMIT or not DIGEST.fullmatch(artifact):
        LOGGER.warning("%s:%s says more than Slipway keeps there", reference.name, reference.tag)
        return None
    return {"image": f"{reference.name}@{found.digest}", "digest": artifact, **kept}


def _find(registry: Registry, tag: str, artifact: str) -> str:
    """Return the digest of the image with this tag if it holds the artifact; else an empty string."""
    try:
        found = registry.manifest(tag)
    except (NotFoundError, HiddenError):
        return ""
    annotations = found.document.get("annotations")
    same = isinstance(annotations, dict) and annotations.get(oci_image.ARTIFACT) == artifact
    return found.digest if same else ""


def _push_layers(
    job: Job, upload: Upload, folder: Path, entries: Sequence[FileEntry]
) -> tuple[list[dict[str, Any]], int]:
    """Return the layers' descriptors and how many bytes had to be uploaded; DataError for other bytes."""
    promised = {folder / entry.path: entry for entry in entries}
    tars = [oci_image.build_tar(folder, group) for group in oci_image.plan_layers(entries)]
    total, done, pushed = sum(tar.size for tar in tars), 0, 0
    layers = []
    for tar in tars:
        digest = _digest(tar, promised)
        if upload.put_blob(Blob(digest, tar.size, tar.blocks), partial(_report, job, done, total)):
            pushed += tar.size
            LOGGER.info("layer %s: %d bytes", digest, tar.size)
        done += tar.size
        job.progress.report_bytes(done, total)
        layers.append({"mediaType": oci_image.LAYER, "digest": digest, "size": tar.size})
    return layers, pushed


def _report(job: Job, before: int, total: int, at: int) -> None:
    job.progress.report_bytes(before + at, total)


def _digest(tar: oci_image.Tar, promised: Mapping[Path, FileEntry]) -> str:
    """Return the tar's digest; each file in it is held against its entry on the way."""
    digest = hashlib.sha256()
    for piece in tar.pieces:
        entry = promised[piece.path] if piece.path else None
        if piece.path and not (piece.path.is_file() and piece.path.stat().st_size == piece.size):
            raise _damaged(piece.path)
        own = hashlib.sha256()
        for block in oci_image.Tar((piece,)).blocks(0, piece.size):
            digest.update(block)
            if entry:
                own.update(block)
        if piece.path and entry and own.hexdigest() != entry.sha256:
            raise _damaged(piece.path)
    return PREFIX + digest.hexdigest()


def _damaged(path: Path) -> DataError:
    return DataError(
        "DigestMismatch",
        f"{path} differs from its manifest and is not pushed: the volume is damaged. "
        "Delete the ModelArtifact with its claim to build it again",
    )


def _blob_of(content: bytes) -> Blob:
    digest = oci_image.describe("", content)["digest"]
    return Blob(digest, len(content), lambda start, end: iter((content[start:end],)))


def _result(reference: Reference, digest: str, pushed: int) -> dict[str, Any]:
    return {"image": f"{reference.name}@{digest}", "pushedBytes": pushed}
