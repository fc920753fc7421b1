"""Small models as registries keep them. For tests of the sources oci and ollama, and of pushes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from slipway_runtime import files, oci_image
from slipway_runtime.model_folder import list_entries

IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"
FILEPATH = "org.cncf.model.filepath"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
OLLAMA = "application/vnd.ollama.image."
GGUF = b"GGUF" + bytes(range(256)) * 100
OLLAMA_LAYERS: list[tuple[str, bytes, dict[str, str]]] = [
    (f"{OLLAMA}model", GGUF, {}),
    (f"{OLLAMA}template", b"{{ .Prompt }}", {}),
    (f"{OLLAMA}license", b"Apache License", {}),
    (f"{OLLAMA}license", b"Use policy", {}),
    (f"{OLLAMA}params", b"{}", {}),
]
"""Type, content and annotations of a model as Ollama keeps it."""


def tar_of(contents: dict[str, bytes], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """Return an uncompressed tar; a name that ends with a slash is a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.size = len(content)
            entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def publish_folder(folder: Path, contents: dict[str, bytes]) -> Path:
    """Write files with their manifest, as the stages do; returns the folder."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    files.write_manifest(folder, list_entries(folder), "quantize", {"method": "gguf", "level": "Q4_K_M"})
    return folder


def large(seed: int) -> bytes:
    """Return bytes enough for a layer of their own, other ones for another seed."""
    return bytes((seed + index * 7) % 256 for index in range(256)) * (oci_image.BIG // 256 + 3)
