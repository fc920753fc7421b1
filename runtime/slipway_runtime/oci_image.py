"""A published folder as an image that nodes mount: tars with the files at their root. For stores/oci.py.

The same folder makes the same image on every machine: no times, users or names of machines are in it. Tars
are never compressed: weights hardly get smaller, and parts of a compressed one can't be read.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from slipway_runtime.files import FileEntry
from slipway_runtime.registry import OCI_INDEX, OCI_MANIFEST

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
ARTIFACT = "dev.slipway.artifact"
"""Annotation with the digest of the published manifest: what the image was made of."""
ARCHITECTURES = ("amd64", "arm64")
"""Nodes take an image of their own architecture alone, so both are named; the layers are the same."""
BIG = 1 << 20
"""Bytes from which on a file has a layer of its own, which other images of the same file share."""
LAYERS_LIMIT = 64
"""Layers at most; containerd's overlay takes 128. Beyond it several large files share one."""
BLOCK = 1 << 20
MODE, FOLDER_MODE = 0o644, 0o755


@dataclass(frozen=True)
class Piece:
    """A run of bytes in a tar: its own, or those of a file."""

    size: int
    content: bytes = b""
    path: Path | None = None


@dataclass(frozen=True)
class Tar:
    """A tar that is never written: it is put together while it is read."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(piece.size for piece in self.pieces)

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        """Yield its bytes from ``start`` to before ``end``."""
        at = 0
        for piece in self.pieces:
            first, last = max(start - at, 0), min(end - at, piece.size)
            if first < last:
                yield from _read(piece, first, last)
            at += piece.size


def plan_layers(entries: Sequence[FileEntry]) -> list[list[FileEntry]]:
    """Return which files share a layer: the small ones the first; large ones have their own while it fits."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    small = [entry for entry in ordered if entry.bytes < BIG]
    large = [entry for entry in ordered if entry.bytes >= BIG]
    together = -(-len(large) // (LAYERS_LIMIT - 1))
    groups = [large[at : at + together] for at in range(0, len(large), together or 1)]
    return [small, *groups] if small else groups


def build_tar(folder: Path, entries: Sequence[FileEntry]) -> Tar:
    """Return the tar of some files of a folder, with the folders that they are in."""
    parents = {parent for entry in entries for parent in PurePosixPath(entry.path).parents if parent.name}
    pieces = [_header(str(parent), 0, folder=True) for parent in sorted(parents)]
    for entry in entries:
        pieces += [_header(entry.path, entry.bytes), Piece(entry.bytes, path=folder / entry.path)]
        padding = -entry.bytes % tarfile.BLOCKSIZE
        pieces.append(Piece(padding, bytes(padding)))
    end = bytes(2 * tarfile.BLOCKSIZE)
    return Tar((*pieces, Piece(len(end), end)))


def describe(media_type: str, content: bytes) -> dict[str, Any]:
    """Return the descriptor of a document."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def build_config(layers: Sequence[Mapping[str, Any]], architecture: str) -> bytes:
    """Return the image's configuration; an uncompressed layer's digest is that of its content, too."""
    rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    return encode({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs})


def build_manifest(config: bytes, layers: Sequence[Mapping[str, Any]], artifact: str) -> bytes:
    """Return the manifest of an image; ``artifact`` is the digest of what is in it."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": describe(CONFIG, config),
            "layers": list(layers),
            "annotations": {ARTIFACT: artifact},
        }
    )


def build_index(manifests: Mapping[str, bytes], artifact: str) -> bytes:
    """Return the index over the manifests of each architecture."""
    listed = [
        describe(OCI_MANIFEST, manifest) | {"platform": {"architecture": architecture, "os": "linux"}}
        for architecture, manifest in manifests.items()
    ]
    annotations = {ARTIFACT: artifact}
    return encode(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed, "annotations": annotations}
    )


def encode(document: Mapping[str, Any]) -> bytes:
    """Return JSON that is the same for the same document."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _header(path: str, size: int, *, folder: bool = False) -> Piece:
    """Return a tar header without owner and time; pax, since older forms end at 8 GiB or 100 characters."""
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = size, FOLDER_MODE if folder else MODE
    entry.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    content = entry.tobuf(tarfile.PAX_FORMAT)
    return Piece(len(content), content)


def _read(piece: Piece, first: int, last: int) -> Iterator[bytes]:
    if piece.path is None:
        yield piece.content[first:last]
        return
    with piece.path.open("rb", buffering=0) as file:
        file.seek(first)
        while first < last and (block := file.read(min(BLOCK, last - first))):
            yield block
            first += len(block)
