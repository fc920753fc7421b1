"""The small hub's public routes: the part of the real hub's HTTP API that reading a model takes.

Called by server.py and tests. Nothing is cached but digests: a folder that changes under the root is a new
commit at once.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import Counter
from typing import TYPE_CHECKING

from aiohttp import web

from hack.hub import access, api
from hack.hub import repository as repositories
from hack.hub.download import send_file
from hack.hub.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hack.hub.repository import HubFile, Repository, Revision

REPOSITORY = "/{organisation}/{name}"
API = "/api/models" + REPOSITORY
DATASET = "/api/datasets" + REPOSITORY
RESOLVE = REPOSITORY + "/resolve/{revision}/{path:.+}"
SIGNED = "/cdn/{signature}" + RESOLVE


class Refused(Exception):  # noqa: N818 - a control-flow signal that carries the finished answer
    """A request that ends early; `response` is the answer."""

    def __init__(self, response: web.Response) -> None:
        """Carry the answer."""
        super().__init__(response.status)
        self.response = response


class Hub:
    """The hub over one folder tree; `page_size` is how many tree entries one answer holds."""

    def __init__(self, root: Path, page_size: int = 1000) -> None:
        """Serve the repositories under `root`."""
        self.root = root
        self.page_size = page_size
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        self.sent_bytes = 0
        self._key = secrets.token_bytes(16)

    def app(self) -> web.Application:
        """Return the public side."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/api/whoami-v2", self.whoami),
                web.get(API, self.info),
                web.get(API + "/revision/{revision}", self.info),
                web.get(DATASET, self.info),
                web.get(DATASET + "/revision/{revision}", self.info),
                web.get("/datasets" + RESOLVE, self.resolve),
                web.get(API + "/tree/{revision}", self.tree),
                web.get(API + "/tree/{revision}/{path:.*}", self.tree),
                web.post(API + "/paths-info/{revision}", self.paths_info),
                web.get(API + "/refs", self.refs),
                web.get(API + "/auth-check", self.auth_check),
                web.get(SIGNED, self.signed),
                web.get(RESOLVE, self.resolve),
            ]
        )
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self.faults.down and request.transport is not None:
            request.transport.abort()
        self.requests[f"{request.method} {request.path}"] += 1
        if self.faults.take_unavailable():
            return access.refusal(503, None, "Service Unavailable")
        try:
            return await handler(request)
        except Refused as refused:
            return refused.response

    async def whoami(self, request: web.Request) -> web.StreamResponse:
        """Say whose token this is."""
        caller = await self._caller(request)
        if caller.token is None:
            raise Refused(access.refusal(401, None, "Invalid username or password."))
        return web.json_response({"type": "user", "name": "reader", "fullname": "Reader", "orgs": []})

    async def info(self, request: web.Request) -> web.StreamResponse:
        """Describe a repository at a revision."""
        repository, revision, _ = await self._open(request)
        query = request.query
        body = api.model_info(
            repository,
            revision,
            blobs=query.get("blobs", "").lower() in {"1", "true"},
            security=query.get("securityStatus", "").lower() in {"1", "true"},
        )
        wanted = query.getall("expand", [])
        if wanted:
            body = {key: value for key, value in body.items() if key in {"_id", "id", "modelId", *wanted}}
        return web.json_response(body)

    async def tree(self, request: web.Request) -> web.StreamResponse:
        """List files, a page at a time; the next page is named by the Link header."""
        _, revision, _ = await self._open(request)
        recursive = request.query.get("recursive", "").lower() in {"1", "true"}
        entries = api.tree(revision, request.match_info.get("path", ""), recursive=recursive)
        if entries is None:
            raise Refused(access.refusal(404, "EntryNotFound", "Entry not found"))
        start = int(request.query.get("cursor", "0"))
        stop = start + min(self.page_size, int(request.query.get("limit", self.page_size)))
        headers = {}
        if stop < len(entries):
            following = request.url.update_query(cursor=str(stop))
            headers["Link"] = f'<{following}>; rel="next"'
        return web.json_response(entries[start:stop], headers=headers)

    async def paths_info(self, request: web.Request) -> web.StreamResponse:
        """Describe the named paths; unknown ones are left out, as the hub does."""
        _, revision, _ = await self._open(request)
        paths = (await request.post()).getall("paths", [])
        files = [revision.file(str(path)) for path in paths]
        return web.json_response([api.tree_file(file) for file in files if file])

    async def refs(self, request: web.Request) -> web.StreamResponse:
        """List the branches."""
        repository, _ = await self._repository(request)
        return web.json_response(api.refs(repository))

    async def auth_check(self, request: web.Request) -> web.StreamResponse:
        """Say whether the caller may read the files."""
        repository, caller = await self._repository(request)
        _raise(access.refuse_files(caller, repository))
        return web.json_response({})

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """Answer for a file: small ones directly, large ones by a redirect to signed storage."""
        repository, revision, caller = await self._open(request)
        _raise(access.refuse_files(caller, repository))
        file = revision.file(request.match_info["path"])
        commit = {"X-Repo-Commit": revision.commit}
        if file is None:
            missing = access.refusal(404, "EntryNotFound", "Entry not found")
            missing.headers.update(commit)
            raise Refused(missing)
        if file.sha256 is None:
            return await self._send(request, file, commit)
        target = f"{repository.name}/resolve/{revision.commit}/{file.path}"
        linked = {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.sha256}"'}
        location = {"Location": f"{request.url.origin()}/cdn/{self._sign(target)}/{target}"}
        return web.Response(status=302, headers=commit | linked | location)

    async def signed(self, request: web.Request) -> web.StreamResponse:
        """Answer for a large file; the signature stands for the credential."""
        parts = request.match_info
        name, commit = f"{parts['organisation']}/{parts['name']}", parts["revision"]
        if not hmac.compare_digest(
            parts["signature"], self._sign(f"{name}/resolve/{commit}/{parts['path']}")
        ):
            raise Refused(access.refusal(403, None, "The signature does not match"))
        repository = await asyncio.to_thread(repositories.read_repository, self.root, name)
        revision = repository.revision(commit) if repository else None
        file = revision.file(parts["path"]) if revision else None
        if file is None:
            raise Refused(access.refusal(404, "EntryNotFound", "Entry not found"))
        # The client follows redirects within a host and expects the commit at the end of them too.
        return await self._send(request, file, {"X-Repo-Commit": commit})

    async def _send(self, request: web.Request, file: HubFile, headers: dict[str, str]) -> web.StreamResponse:
        def count(number: int) -> None:
            self.sent_bytes += number

        return await send_file(request, file, headers, self.faults, count)

    def _sign(self, target: str) -> str:
        return hmac.new(self._key, target.encode(), "sha256").hexdigest()[:32]

    async def _caller(self, request: web.Request) -> access.Caller:
        known = await asyncio.to_thread(repositories.valid_tokens, self.root)
        caller = access.read_caller(request, known)
        _raise(access.refuse_caller(caller))
        return caller

    async def _repository(self, request: web.Request) -> tuple[Repository, access.Caller]:
        caller = await self._caller(request)
        name = f"{request.match_info['organisation']}/{request.match_info['name']}"
        repository = await asyncio.to_thread(repositories.read_repository, self.root, name)
        _raise(access.refuse_repository(caller, repository))
        if repository is None:
            raise Refused(access.refusal(404, "RepoNotFound", "Repository not found"))
        return repository, caller

    async def _open(self, request: web.Request) -> tuple[Repository, Revision, access.Caller]:
        repository, caller = await self._repository(request)
        name = request.match_info.get("revision", "main")
        revision = repository.revision(name)
        if revision is None:
            raise Refused(access.refusal(404, "RevisionNotFound", f"Invalid rev id: {name}"))
        return repository, revision, caller


def _raise(refusal: web.Response | None) -> None:
    if refusal is not None:
        raise Refused(refusal)
