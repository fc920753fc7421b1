"""The small hub's routes in ModelScope's HTTP API, over the same repositories.

Called by routes.py. As the real service does: the default branch is master; an unknown revision is an answer
without files; LatestCommitter names a commit by its first digits alone; a small file comes whole, whatever
range is asked for; a large one by a redirect to storage.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hack.hub import access

if TYPE_CHECKING:
    from hack.hub.repository import HubFile, Repository, Revision

API = "/api/v1/models/{organisation}/{name}"
DEFAULT = "master"
RECORD_NOT_FOUND, FILE_NOT_FOUND = 10010205001, 10990101007
COMMITTED = 1738886400
"""When the demo model was published: a repository's dates never move."""


def named(repository: Repository, name: str) -> Revision | None:
    """Return the revision of a branch or commit by its name at ModelScope."""
    if name == "main":
        return None
    return repository.revision("main" if name == DEFAULT else name)


def body(data: Any, code: int = 200, message: str = "success") -> dict[str, Any]:
    """Return the envelope of every answer."""
    return {"Code": code, "Data": data, "Message": message, "RequestId": "0" * 32, "Success": code == 200}  # noqa: PLR2004


def refusal(status: int, code: int, message: str) -> web.Response:
    """Return an error answer."""
    return web.json_response(body(None, code, message), status=status)


def refuse(caller: access.Caller, repository: Repository | None) -> web.Response | None:
    """Return the refusal for what is missing or hidden from the caller."""
    if caller.token is not None and not caller.valid:
        return refusal(401, 10010101002, "The token is invalid")
    if repository is None or (repository.private and caller.token not in repository.tokens):
        return refusal(404, RECORD_NOT_FOUND, "record not found")
    return None


async def listing(revision: Revision | None, root: str, *, recursive: bool) -> dict[str, Any]:
    """Return the data of GET repo/files."""
    if revision is None:
        return {"Files": None, "IsVisual": 0, "LatestCommitter": None}
    prefix = f"{root.strip('/')}/" if root.strip("/") else ""
    files = [file for file in revision.files if file.path.startswith(prefix)]
    folders = sorted(
        {
            parent.as_posix()
            for file in files
            for parent in PurePosixPath(file.path).parents
            if parent.as_posix().startswith(prefix) and parent.as_posix() != "."
        }
    )
    common = {"Revision": revision.commit, "CommittedDate": COMMITTED}
    entries = [{**common, "Type": "tree", "Path": path, "Size": 0} for path in folders]
    # Every file has its sha256 here, those in Git too.
    entries += await asyncio.to_thread(lambda: [{**common, **_blob(file)} for file in files])
    if not recursive:
        entries = [one for one in entries if "/" not in str(one["Path"])[len(prefix) :]]
    for one in entries:
        one["Name"] = PurePosixPath(str(one["Path"])).name
    return {"Files": entries, "IsVisual": 0, "LatestCommitter": {"Id": "", "ShortId": revision.commit[:8]}}


def revisions(repository: Repository) -> dict[str, Any]:
    """Return the data of GET revisions."""
    branches = [DEFAULT if one.name == "main" else one.name for one in repository.revisions]
    return {"RevisionMap": {"Branches": [{"Revision": one, "CreatedAt": 0} for one in branches], "Tags": []}}


def _blob(file: HubFile) -> dict[str, Any]:
    sha256 = file.sha256 or hashlib.sha256(file.local.read_bytes()).hexdigest()
    return {
        "Type": "blob",
        "Path": file.path,
        "Size": file.size,
        "Sha256": sha256,
        "IsLFS": file.sha256 is not None,
    }
