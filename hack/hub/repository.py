"""What the small hub serves: repositories read from a folder tree, with Git-like object ids and commits.

Called by routes.py, api.py and server.py. The tree is `ROOT/ORG/NAME/`: either the files of `main`, or
folders `refs/BRANCH/`. `repo.json` in it (never served) may say `{"private": true, "gated": "manual",
"tokens": ["hf_…"], "sha256": {"model.safetensors": "…"}}`; a digest given there is believed instead of
computed, for a sparse file that stands for a model too big to keep. `ROOT/hub.json` may list more valid
tokens: `{"tokens": ["hf_…"]}`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

# The suffixes that the hub's default .gitattributes keeps in large-file storage.
LARGE_SUFFIXES = frozenset(
    {".safetensors", ".bin", ".gguf", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".model"}
)
LARGE_BYTES = 10 * 2**20  # the hub refuses bigger files in plain Git


@dataclass(frozen=True)
class HubFile:
    """One file at a commit. `sha256` is set for large-file storage only, as the hub does; `size` is bytes."""

    path: str
    local: Path
    size: int
    blob: str
    sha256: str | None

    @property
    def etag(self) -> str:
        """The digest that a download is checked and resumed by."""
        return self.sha256 or self.blob


@dataclass(frozen=True)
class Revision:
    """The files of a branch; `commit` is 40 hex digits over their paths and contents."""

    name: str
    commit: str
    files: tuple[HubFile, ...]

    def file(self, path: str) -> HubFile | None:
        """Return the file of that path, or None."""
        return next((file for file in self.files if file.path == path), None)


@dataclass(frozen=True)
class Repository:
    """One model repository. `gated` is False, "auto" or "manual"; `tokens` are those that may read it."""

    name: str
    revisions: tuple[Revision, ...]
    private: bool = False
    gated: str | bool = False
    tokens: frozenset[str] = field(default_factory=frozenset)

    def revision(self, name: str) -> Revision | None:
        """Return the revision of that branch or commit, or None."""
        return next((rev for rev in self.revisions if name in {rev.name, rev.commit}), None)


def read_repository(root: Path, name: str) -> Repository | None:
    """Read ROOT/ORG/NAME as it is now; None when there is no such folder."""
    organisation, _, short = name.partition("/")
    folder = root / organisation / short
    if not short or ".." in {organisation, short} or not folder.is_dir():
        return None
    settings = _read_json(folder / "repo.json")
    refs = folder / "refs"
    branches = sorted(path for path in refs.iterdir() if path.is_dir()) if refs.is_dir() else [folder]
    digests = settings.get("sha256", {})
    return Repository(
        name=name,
        revisions=tuple(
            _read_revision(branch, "main" if branch == folder else branch.name, digests)
            for branch in branches
        ),
        private=bool(settings.get("private", False)),
        gated=settings.get("gated", False),
        tokens=frozenset(settings.get("tokens", [])),
    )


def repository_names(root: Path) -> list[str]:
    """Return every `ORG/NAME` under the root, sorted."""
    return sorted(f"{path.parent.name}/{path.name}" for path in root.glob("*/*") if path.is_dir())


def valid_tokens(root: Path) -> frozenset[str]:
    """Return every token that the hub accepts, whether or not it opens a given repository."""
    tokens = set(_read_json(root / "hub.json").get("tokens", []))
    for settings in root.glob("*/*/repo.json"):
        tokens.update(_read_json(settings).get("tokens", []))
    return frozenset(tokens)


def card(revision: Revision) -> dict[str, Any]:
    """Return the YAML block that opens README.md, {} when there is none."""
    readme = revision.file("README.md")
    if readme is None:
        return {}
    text = readme.local.read_text(encoding="utf-8")
    if not text.startswith("---\n"):
        return {}
    block = yaml.safe_load(text[4:].split("\n---", 1)[0])
    return block if isinstance(block, dict) else {}


def parameters(revision: Revision) -> dict[str, int] | None:
    """Return the count of parameters by data type over all safetensors headers, None when there are none."""
    counts: dict[str, int] = {}
    for file in revision.files:
        if file.path.endswith(".safetensors"):
            for dtype, number in _header_counts(file.local).items():
                counts[dtype] = counts.get(dtype, 0) + number
    return counts or None


def _header_counts(path: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
    except (struct.error, ValueError, MemoryError):
        return {}  # the hub also says nothing about a file that it cannot parse
    for name, tensor in header.items():
        if name != "__metadata__":
            number = 1
            for size in tensor["shape"]:
                number *= size
            counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + number
    return counts


def _read_revision(folder: Path, name: str, digests: dict[str, str]) -> Revision:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "repo.json")
    files = tuple(_read_file(folder, path, digests) for path in paths)
    listing = "".join(f"{file.etag} {file.path}\n" for file in files)
    return Revision(name, hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest(), files)


def _read_file(folder: Path, path: Path, digests: dict[str, str]) -> HubFile:
    relative = path.relative_to(folder).as_posix()
    size = path.stat().st_size
    if path.suffix not in LARGE_SUFFIXES and size < LARGE_BYTES:
        return HubFile(relative, path, size, _blob_id(path.read_bytes()), None)
    sha256 = digests.get(relative) or _sha256(path.resolve(), size, path.stat().st_mtime_ns)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return HubFile(relative, path, size, _blob_id(pointer.encode()), sha256)


def _blob_id(data: bytes) -> str:
    """Git's own id of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@lru_cache(maxsize=1024)
def _sha256(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 - both are part of the cache's key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return content
