"""How models lie in registries: which layers are files, which are tars of files. Pure; for the source oci.

Read are layers that are a file, with its path in an annotation (ORAS; CNCF's ModelPack, ``.raw``; Docker's
model runner), and uncompressed tars (ModelPack, ``.tar``; KitOps; images, as KServe's modelcars and ours).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

from slipway_runtime.errors import DataError
from slipway_runtime.registry_reference import DIGEST
from slipway_runtime.weights import ADAPTER_CONFIG, CONFIG, require_safe

PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title")
"""Annotations of a layer that hold its file's path: ModelPack's, now and as it was called before; ORAS's."""
UNPACK = "io.deis.oras.content.unpack"
"""ORAS marks the folders among its layers with it: those are tars."""
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_GGUF = "application/vnd.docker.ai.gguf.v3"
DOCKER_FILES = {
    "application/vnd.docker.ai.mmproj": "mmproj.gguf",
    "application/vnd.docker.ai.license": "LICENSE",
    "application/vnd.docker.ai.chat.template.jinja": "chat_template.jinja",
}
"""What Docker's model runner calls layers, with the names that those without an annotation get."""
TAR = re.compile(r"application/.*[.+/]tar")
COMPRESSED = re.compile(r"application/.*[.+/]tar[.+](?P<how>gzip|zstd|bzip2|xz|lz4)")
SUPPORTED = (
    "read are artifacts with a layer a file (oras push, ModelPack's raw layers, docker model package) and "
    "uncompressed tar layers"
)
UNCOMPRESSED = (
    "docker buildx build --output type=image,push=true,compression=uncompressed,force-compression=true"
)
ANY_ARCHITECTURE = "amd64"
"""Of an image for several architectures, the one that is read: the model is the same in all."""


class Kind(Enum):
    """What a layer holds."""

    FILE = "a file"
    TAR = "an uncompressed tar"
    COMPRESSED = "a compressed tar"


@dataclass(frozen=True)
class Layer:
    """One layer that may hold files of a model.

    Attributes:
        kind: what it holds.
        digest: of the blob, ``sha256:HEX``.
        size: bytes of the blob.
        path: of the file; of a compressed tar the compression; empty for tars.
    """

    kind: Kind
    digest: str
    size: int
    path: str = ""


@dataclass(frozen=True)
class Member:
    """A file inside a blob: its path, its bytes, and at which byte of the blob they begin."""

    path: str
    size: int
    digest: str
    offset: int


def choose_manifest(index: Mapping[str, Any], name: str) -> str:
    """Return the digest of the manifest to read of an index: that for Linux on amd64, else the first one.

    Raises:
        DataError: UnsupportedLayout, the index names none.
    """
    usable = [one for one in descriptors(index, "manifests", name) if not _is_attestation(one)]
    if not usable:
        raise unsupported(name, "its index names no manifest")
    best = [one for one in usable if _architecture(one) == ANY_ARCHITECTURE]
    return str((best or usable)[0]["digest"])


def read_layers(manifest: Mapping[str, Any], name: str) -> list[Layer]:
    """Return the layers of a manifest that may hold files, in its order.

    Raises:
        DataError: UnsafePath, or UnsupportedLayout for a manifest that makes no sense.
    """
    described = descriptors(manifest, "layers", name)
    shards = [one["digest"] for one in described if one.get("mediaType") == DOCKER_GGUF and not _path(one)]
    layers = [_layer(one, shards) for one in described]
    return [layer for layer in layers if layer is not None]


def _layer(described: Mapping[str, Any], shards: Sequence[str]) -> Layer | None:
    media_type, path = str(described.get("mediaType", "")), _path(described)
    digest, size = str(described["digest"]), int(described["size"])
    compressed = COMPRESSED.fullmatch(media_type)
    archive = compressed is not None or TAR.fullmatch(media_type) is not None
    # ORAS gives files, too, the type of an image's layer.
    if path and (not archive or (media_type == OCI_LAYER and _annotations(described).get(UNPACK) != "true")):
        return _file(digest, size, path)
    if compressed:
        return Layer(Kind.COMPRESSED, digest, size, compressed["how"])
    if archive:
        return Layer(Kind.TAR, digest, size)
    if media_type == DOCKER_GGUF:
        return _file(digest, size, shard_name(shards.index(digest), len(shards)))
    return _file(digest, size, DOCKER_FILES[media_type]) if media_type in DOCKER_FILES else None


def shard_name(index: int, count: int) -> str:
    """Return the name of a GGUF file, or of one part of several as llama.cpp wants it; ``index`` from 0."""
    return "model.gguf" if count == 1 else f"model-{index + 1:05d}-of-{count:05d}.gguf"


def _file(digest: str, size: int, path: str) -> Layer:
    require_safe(path)
    return Layer(Kind.FILE, digest, size, path)


def model_root(members: Iterable[Member], layers: Sequence[Layer], name: str) -> list[Member]:
    """Return the files of the model with paths from its own folder on, the last of each path.

    The folder is the highest one that holds a config.json, an adapter's configuration or a GGUF file: images
    keep models in ``models/``.

    Raises:
        DataError: UnsupportedLayout for no such folder, or for several.
    """
    known = {str(PurePosixPath(member.path)): member for member in members}
    folders = {PurePosixPath(path).parent for path in known if _shows_model(path)}
    if not folders:
        raise unsupported(name, f"there is no model among its {len(known)} files{_packed(layers)}")
    highest = min(len(folder.parts) for folder in folders)
    roots = sorted(str(folder) for folder in folders if len(folder.parts) == highest)
    if len(roots) > 1:
        raise unsupported(name, f"it holds several models: {', '.join(roots[:5])}")
    prefix = "" if roots == ["."] else f"{roots[0]}/"
    below = {path.removeprefix(prefix): one for path, one in known.items() if path.startswith(prefix)}
    return [Member(path, one.size, one.digest, one.offset) for path, one in sorted(below.items())]


def _packed(layers: Iterable[Layer]) -> str:
    packed = sorted({layer.path for layer in layers if layer.kind is Kind.COMPRESSED})
    if not packed:
        return ""
    return (
        f"; other layers are {'- and '.join(packed)}-compressed, of which no part can be read and no "
        f"download resumed: push them uncompressed ({UNCOMPRESSED})"
    )


def _shows_model(path: str) -> bool:
    return PurePosixPath(path).name in {CONFIG, ADAPTER_CONFIG} or path.endswith(".gguf")


def unsupported(name: str, why: str) -> DataError:
    """Return the error for an artifact whose files can't be read."""
    return DataError(
        "UnsupportedLayout", f"{name} is no model that can be read: {why}. What works: {SUPPORTED}"
    )


def descriptors(document: Mapping[str, Any], key: str, name: str) -> list[Mapping[str, Any]]:
    """Return what a manifest lists under ``key``, each with a sha256 digest and a size."""
    found = document.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise unsupported(name, f"its manifest has no list of {key}")
    for one in found:
        size = one.get("size")
        if not DIGEST.fullmatch(str(one.get("digest"))) or not isinstance(size, int) or size < 0:
            raise unsupported(name, f"one of its {key} has no sha256 digest or no size")
    return found


def _annotations(described: Mapping[str, Any]) -> Mapping[str, Any]:
    found = described.get("annotations")
    return found if isinstance(found, dict) else {}


def _path(described: Mapping[str, Any]) -> str:
    annotations = _annotations(described)
    return next((str(annotations[key]) for key in PATHS if annotations.get(key)), "")


def _architecture(described: Mapping[str, Any]) -> str:
    platform = described.get("platform")
    return str(platform.get("architecture", "")) if isinstance(platform, dict) else ""


def _is_attestation(described: Mapping[str, Any]) -> bool:
    """Whether it is what BuildKit lists beside images: provenance, not an image."""
    return _architecture(described) == "unknown" or "vnd.docker.reference.type" in _annotations(described)
