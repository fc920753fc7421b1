"""The bodies of the small hub's answers, in the shapes of the real hub's HTTP API. Pure.

Called by routes.py only. The fields are those that huggingface_hub 2.4 reads: ModelInfo, RepoFile,
RepoFolder, GitRefs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from hack.hub import repository as repositories

if TYPE_CHECKING:
    from hack.hub.repository import HubFile, Repository, Revision

MOMENT = "2025-02-07T00:00:00.000Z"  # when the demo model was published: a repository's dates never move
POINTER_BYTES = 134  # the size of a Git LFS pointer file


def model_info(repository: Repository, revision: Revision, *, blobs: bool, security: bool) -> dict[str, Any]:
    """Return the body of GET /api/models/ORG/NAME[/revision/REV]."""
    metadata = repositories.card(revision)
    tags = [f"license:{metadata['license']}"] if "license" in metadata else []
    info: dict[str, Any] = {
        "_id": hashlib.sha256(repository.name.encode()).hexdigest()[:24],
        "id": repository.name,
        "modelId": repository.name,
        "author": repository.name.split("/")[0],
        "sha": revision.commit,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "createdAt": MOMENT,
        "lastModified": MOMENT,
        "library_name": metadata.get("library_name"),
        "pipeline_tag": metadata.get("pipeline_tag"),
        "tags": tags,
        "cardData": metadata,
        "siblings": [_sibling(file, blobs=blobs) for file in revision.files],
        "usedStorage": sum(file.size for file in revision.files),
    }
    counts = repositories.parameters(revision)
    if counts:
        info["safetensors"] = {"parameters": counts, "total": sum(counts.values())}
    config = _config(revision)
    if config:
        info["config"] = {key: config[key] for key in ("architectures", "model_type") if key in config}
    if security:
        info["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
    return info


def tree(revision: Revision, folder: str, *, recursive: bool) -> list[dict[str, Any]] | None:
    """Return every entry of GET /api/models/ORG/NAME/tree/REV/FOLDER, None when there is no such folder."""
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    files = [file for file in revision.files if file.path.startswith(prefix)]
    if prefix and not files:
        return None
    folders = sorted(
        {
            parent.as_posix()
            for file in files
            for parent in PurePosixPath(file.path).parents
            if parent.as_posix().startswith(prefix) and parent.as_posix() != "."
        }
    )
    entries = [{"type": "directory", "oid": _tree_id(path), "size": 0, "path": path} for path in folders]
    entries += [tree_file(file) for file in files]
    if not recursive:
        entries = [entry for entry in entries if "/" not in str(entry["path"])[len(prefix) :]]
    return sorted(entries, key=lambda entry: str(entry["path"]))


def tree_file(file: HubFile) -> dict[str, Any]:
    """Return one file as the tree and paths-info answers have it."""
    entry: dict[str, Any] = {"type": "file", "oid": file.blob, "size": file.size, "path": file.path}
    if file.sha256:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": POINTER_BYTES}
    return entry


def refs(repository: Repository) -> dict[str, Any]:
    """Return the body of GET /api/models/ORG/NAME/refs."""
    branches = [
        {"name": revision.name, "ref": f"refs/heads/{revision.name}", "targetCommit": revision.commit}
        for revision in repository.revisions
    ]
    return {"branches": branches, "tags": [], "converts": [], "pullRequests": []}


def _sibling(file: HubFile, *, blobs: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        entry |= {"size": file.size, "blobId": file.blob}
        if file.sha256:
            entry["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": POINTER_BYTES}
    return entry


def _config(revision: Revision) -> dict[str, Any]:
    file = revision.file("config.json")
    if file is None:
        return {}
    try:
        config = json.loads(file.local.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _tree_id(path: str) -> str:
    return hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
