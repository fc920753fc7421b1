"""A published artifact out of its image, file by file as its manifest says. For the stage fetch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from slipway_runtime.certificates import trust
from slipway_runtime.contract import MANIFEST
from slipway_runtime.errors import DataError
from slipway_runtime.files import FileEntry
from slipway_runtime.job import Job
from slipway_runtime.pinning import PREFIX
from slipway_runtime.registry import MANIFEST_LIMIT, Registry
from slipway_runtime.registry_reference import kept_place, parse_reference
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.sources.oci import EXAMPLE, OciRepository

COPY = "SLIPWAY_COPY"
DIGEST = "SLIPWAY_DIGEST"


def is_copy(job: Job) -> bool:
    """Whether the source is an image that the stage push made."""
    return job.environment.get(COPY) == "true"


class PublishedImage:
    """The repository of an image that the stage push made; no mirror stands for it.

    Attributes:
        endpoint: URL of the server that is asked.
    """

    def __init__(self, job: Job) -> None:
        trust(job.environment)
        self._digest = job.require(DIGEST)
        reference = parse_reference(job.source.removeprefix("oci://"), EXAMPLE)
        self._image = OciRepository(Registry(job, kept_place(job, reference)), reference, whole=True)
        self._name = reference.name
        self.endpoint = self._image.endpoint

    def list_files(self, revision: str) -> Listing:
        """List the manifest and the files that it names, each with its sha256.

        Raises:
            DataError: UnsupportedLayout for an image without a manifest, DigestMismatch for one of another
            artifact or without its files.
        """
        listing = self._image.list_files(revision)
        there = {file.path: file for file in listing.files}
        manifest = self._promised(there.get(MANIFEST), listing.commit)
        content = self.read_range(listing.commit, manifest, 0, manifest.size)
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            raise DataError(
                "DigestMismatch", f"{MANIFEST} in {self._name} is not that of artifact {self._digest}"
            )
        entries = [FileEntry(**one) for one in json.loads(content)["files"]]
        for entry in entries:
            if entry.path not in there or there[entry.path].size != entry.bytes:
                raise DataError("DigestMismatch", f"{self._name} has no {entry.path} of {entry.bytes} bytes")
        found = [replace(there[entry.path], sha256=entry.sha256, sealed=False) for entry in entries]
        return Listing(listing.commit, (manifest, *found))

    def _promised(self, manifest: RemoteFile | None, commit: str) -> RemoteFile:
        if manifest is None or manifest.size > MANIFEST_LIMIT:
            raise DataError(
                "UnsupportedLayout",
                f"{self._name}@{commit} has no {MANIFEST}: nobody pushed it as an artifact",
            )
        return replace(manifest, sha256=self._digest.removeprefix(PREFIX), sealed=False)

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """Read part of a file out of its layer."""
        return self._image.read_range(commit, file, start, length)

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """Append what is missing to ``target``."""
        self._image.download(commit, file, target)
