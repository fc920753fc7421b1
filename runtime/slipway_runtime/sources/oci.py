"""A model in an OCI registry, ``oci://REGISTRY/REPOSITORY[:TAG][@sha256:HEX]``. Found by ``sources``.

The pin is the digest of the manifest, or of the index of several. A file that is a layer has the layer's
digest; files inside tars are held against the digest of their layer once all have come (``verify``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_runtime.errors import DataError
from slipway_runtime.files import CHUNK
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.oci_layout import (
    Kind,
    Layer,
    Member,
    choose_manifest,
    model_root,
    read_layers,
    unsupported,
)
from slipway_runtime.pinning import PREFIX
from slipway_runtime.registry import MANIFEST_LIMIT, Manifest, Registry
from slipway_runtime.registry_reference import Reference, parse_reference, place_of
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.tar_index import overlay, read_members

EXAMPLE = "oci://ghcr.io/acme/qwen2.5-7b-instruct:v1"
LICENSES = "org.opencontainers.image.licenses"
CONFIGS = frozenset(
    {"application/vnd.cncf.model.config.v1+json", "application/vnd.cnai.model.config.v1+json"}
)
"""Configurations of ModelPack, which name the licences."""


def connect(job: Job) -> OciRepository:
    """Return a connection to the repository; RequestError when the address is malformed."""
    reference = parse_reference(job.source.removeprefix("oci://"), EXAMPLE)
    return OciRepository(Registry(job, place_of(reference, job.endpoint_of("oci"))), reference)


@dataclass(frozen=True)
class _Tar:
    """An uncompressed tar layer and the files of the model in it, by offset."""

    digest: str
    size: int
    members: tuple[Member, ...]


class OciRepository:
    """One repository of one registry; ``whole`` lists its files as they lie, in place of a model's.

    Attributes:
        endpoint: URL of the server that is asked.
    """

    def __init__(self, registry: Registry, reference: Reference, *, whole: bool = False) -> None:
        self.registry = registry
        self.whole = whole
        self.endpoint = registry.endpoint
        self.reference = reference
        self._members: dict[str, Member] = {}
        self._tars: list[_Tar] = []

    def list_files(self, revision: str) -> Listing:
        """Resolve a tag to its manifest and list the files of its layers; of tars the headers are read."""
        top = self.registry.manifest(self.reference.asked(revision))
        manifest = self._below(top)
        layers = read_layers(manifest.document, self.reference.name)
        files = [Member(one.path, one.size, one.digest, 0) for one in layers if one.kind is Kind.FILE]
        tars = [layer for layer in layers if layer.kind is Kind.TAR]
        inside = overlay([self._read_tar(layer) for layer in tars])
        found = [*inside, *files]
        members = found if self.whole else model_root(found, layers, self.reference.name)
        self._members = {member.path: member for member in members}
        self._tars = [_Tar(one.digest, one.size, _inside(one, members)) for one in tars]
        whole = {layer.digest for layer in layers if layer.kind is Kind.FILE}
        listed = (
            RemoteFile(one.path, one.size, one.digest.removeprefix(PREFIX))
            if one.digest in whole
            else RemoteFile(one.path, one.size, sealed=True)
            for one in members
        )
        return Listing(top.digest, tuple(listed), self._license(manifest.document))

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """Read part of a file out of its layer."""
        del commit
        member = self._members[file.path]
        return self.registry.read(
            member.digest, member.offset + start, max(0, min(length, file.size - start))
        )

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """Append what is missing to ``target``; cut connections are taken up again."""
        del commit
        member = self._members[file.path]
        self.registry.download(file, member.digest, member.offset, target)

    def verify(self, brought: Mapping[str, Path]) -> None:
        """Hold the files that lay in tars against the digests of their layers; headers are read once more.

        Args:
            brought: where each lies, by its path in the listing.

        Raises:
            DataError: DigestMismatch; the files of that layer are removed.
        """
        unknown = brought.keys() - {member.path for tar in self._tars for member in tar.members}
        if unknown:
            raise DataError(
                "DigestMismatch", f"{min(unknown)} is in no layer of {self.reference.name} that has a digest"
            )
        for tar in self._tars:
            members = [member for member in tar.members if member.path in brought]
            if not members:
                continue
            found = f"{PREFIX}{self._digest(tar, members, brought)}"
            if found != tar.digest:
                for member in members:
                    brought[member.path].unlink()
                raise DataError(
                    "DigestMismatch",
                    f"the layer of {', '.join(one.path for one in members[:3])} has digest {found}, but "
                    f"{self.reference.name} promises {tar.digest}: the registry or something on the way "
                    "changes it",
                )
            LOGGER.info("layer %s verified", tar.digest)

    def _digest(self, tar: _Tar, members: list[Member], brought: Mapping[str, Path]) -> str:
        digest, at = hashlib.sha256(), 0
        for member in members:
            for block in self.registry.blocks(tar.digest, at, member.offset - at):
                digest.update(block)
            with brought[member.path].open("rb") as file:
                while block := file.read(CHUNK):
                    digest.update(block)
            at = member.offset + member.size
        for block in self.registry.blocks(tar.digest, at, tar.size - at):
            digest.update(block)
        return digest.hexdigest()

    def _below(self, top: Manifest) -> Manifest:
        """Return the manifest with layers that an index leads to, or the manifest itself."""
        if not top.is_index:
            return top
        found = self.registry.manifest(choose_manifest(top.document, self.reference.name))
        if found.is_index:
            raise unsupported(self.reference.name, "its index lists another index")
        return found

    def _read_tar(self, layer: Layer) -> list[Member]:
        def read(start: int, length: int) -> bytes:
            return self.registry.read(layer.digest, start, length)

        return read_members(layer.digest, layer.size, read, self.reference.name)

    def _license(self, manifest: Mapping[str, Any]) -> str:
        """Return the licence that annotations or ModelPack's configuration name; empty when none does."""
        annotations, config = manifest.get("annotations"), manifest.get("config")
        if isinstance(annotations, dict) and annotations.get(LICENSES):
            return str(annotations[LICENSES])
        if not isinstance(config, dict) or config.get("mediaType") not in CONFIGS:
            return ""
        if not isinstance(config.get("size"), int) or config["size"] > MANIFEST_LIMIT:
            return ""
        descriptor = self.registry.json_blob(str(config.get("digest"))).get("descriptor")
        named = descriptor.get("licenses") if isinstance(descriptor, dict) else None
        return " OR ".join(map(str, named)) if isinstance(named, list) else ""


def _inside(tar: Layer, members: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted((one for one in members if one.digest == tar.digest), key=lambda one: one.offset))
