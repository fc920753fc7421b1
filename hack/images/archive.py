"""Writes an OCI archive of one image out of a layout that all images share, so that each layer packs once.

Called by build.py. Standard library and the program zstd. The layout holds layers as they are, because
buildah skips what lies there already, and it knows its layers by their unpacked digests only.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
LEVEL = "-3"  # 1.5 GB become 415 MB in 6 s; more effort would cost more time than a load saves


def write_archive(layout: Path, reference: str, name: str, target: Path) -> str:
    """Write the image `reference` of the layout to `target`, named `name` (repository:tag), atomically.

    Returns the digest of the image's manifest, "sha256:" and 64 hex digits.
    """
    manifest = json.loads(_blob(layout, _manifest_digest(layout, reference)).read_bytes())
    packed = [_packed(layout, layer["digest"]) for layer in manifest["layers"]]
    manifest["layers"] = [_descriptor(path) for path in packed]
    body = json.dumps(manifest).encode()
    digest = hashlib.sha256(body).hexdigest()
    entry = {
        "mediaType": manifest["mediaType"],
        "digest": f"sha256:{digest}",
        "size": len(body),
        "annotations": {REF_NAME: name.rpartition(":")[2], CONTAINERD_NAME: name},
    }
    partial = target.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
        _add(tar, f"blobs/sha256/{digest}", body)
        config = manifest["config"]["digest"]
        tar.add(_blob(layout, config), f"blobs/{config.replace(':', '/')}")
        for path in dict.fromkeys(packed):  # two empty layers are one blob
            tar.add(path, f"blobs/sha256/{_packed_digest(path)}")
    partial.rename(target)
    return f"sha256:{digest}"


def prune(layout: Path, kept: set[str]) -> None:
    """Forget the layout's images that `kept` does not name, and the layers that only they had."""
    path = layout / "index.json"
    if not path.is_file():
        return
    index = json.loads(path.read_text())
    index["manifests"] = [
        entry for entry in index["manifests"] if entry.get("annotations", {}).get(REF_NAME) in kept
    ]
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(index))
    partial.rename(path)  # first the index: what it names is always there
    used = {digest.partition(":")[2] for entry in index["manifests"] for digest in _digests(layout, entry)}
    for blob in (layout / "blobs/sha256").iterdir():
        if blob.name not in used:
            blob.unlink()
    for packed in (layout.parent / "packed").glob("*"):
        if packed.name.partition("-")[0] not in used:
            packed.unlink()


def _digests(layout: Path, entry: dict[str, Any]) -> list[str]:
    manifest = json.loads(_blob(layout, entry["digest"]).read_bytes())
    return [entry["digest"], manifest["config"]["digest"], *(each["digest"] for each in manifest["layers"])]


def _packed(layout: Path, digest: str) -> Path:
    """Return the compressed form of a layer: a file named UNPACKED-PACKED.zst by the digests of both."""
    folder = layout.parent / "packed"
    unpacked = digest.partition(":")[2]
    known = next(folder.glob(f"{unpacked}-*.zst"), None)
    if known is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{unpacked}.partial"
    command = ["zstd", "--quiet", "--force", "-T0", LEVEL, str(_blob(layout, digest)), "-o", str(partial)]
    subprocess.run(command, check=True)
    with partial.open("rb") as data:
        packed = hashlib.file_digest(data, "sha256").hexdigest()
    return partial.rename(folder / f"{unpacked}-{packed}.zst")


def _packed_digest(path: Path) -> str:
    return path.stem.rpartition("-")[2]


def _descriptor(path: Path) -> dict[str, Any]:
    digest = f"sha256:{_packed_digest(path)}"
    return {"mediaType": LAYER_TYPE, "digest": digest, "size": path.stat().st_size}


def _manifest_digest(layout: Path, reference: str) -> str:
    index = json.loads((layout / "index.json").read_text())
    named = {entry.get("annotations", {}).get(REF_NAME): entry["digest"] for entry in index["manifests"]}
    return str(named[reference])


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
