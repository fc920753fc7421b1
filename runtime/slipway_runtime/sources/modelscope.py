"""ModelScope, or a server that speaks its HTTP API (SLIPWAY_ENDPOINT_MODELSCOPE). Found by ``sources``.

Tried with modelscope-hub 0.5.1, the SDK's light package (modelscope 1.40 wraps it). Its public functions name
no commit: ``list_repo_files`` drops what the answer says of it. They read no ranges, name unfinished files
themselves, ask a cloud's metadata service where they are, and follow redirects to hosts that nobody allowed.
So its requests are made here. What is known of the answers beside the SDK's own code: an unknown revision is
200 with ``Files: null``; ``LatestCommitter`` has an empty ``Id`` and the first 8 digits in ``ShortId``; each
file's ``Revision`` is the commit that last changed it; small files come whole, whatever range is asked for.
"""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway_runtime import model_card
from slipway_runtime.errors import (
    DataError,
    DeniedError,
    NotFoundError,
    RequestError,
    StageError,
    ToolError,
    TransientError,
)
from slipway_runtime.job import Job
from slipway_runtime.log import plain
from slipway_runtime.resuming import Stream, bring
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.web import (
    FORBIDDEN,
    NOT_FOUND,
    UNAUTHORIZED,
    begins,
    cuts,
    is_passing,
    open_client,
    read_whole,
    translated,
)

if TYPE_CHECKING:
    import httpx2

EXAMPLE = "modelscope://Qwen/Qwen2.5-7B-Instruct"
ADDRESS = re.compile(r"modelscope://([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)/?", re.ASCII)
PUBLIC_ENDPOINT = "https://modelscope.cn"
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
DEFAULTS = {"main": "master"}
"""What Slipway calls the default branch, and what ModelScope does."""
MOST = 3000
"""Entries of one answer, which has no pages: a list of so many was cut (``REPO_FILES_TRUNCATION_LIMIT``)."""
CANDIDATES = 3
"""Commits that are compared with a branch before it counts as one that can't be pinned."""


def connect(job: Job) -> ModelScopeRepository:
    """Return a connection to ``modelscope://ORG/NAME``; RequestError when the URI is malformed."""
    match = ADDRESS.fullmatch(job.source)
    if match is None:
        raise RequestError(
            "UnknownScheme",
            f"{plain(job.source)!r} is no address of the form modelscope://ORG/NAME, as in {EXAMPLE}",
        )
    return ModelScopeRepository(job, match[1], job.endpoint_of("modelscope") or PUBLIC_ENDPOINT)


class ModelScopeRepository:
    """One model repository, read with one token or none."""

    def __init__(self, job: Job, name: str, endpoint: str) -> None:
        self.name = name
        self.endpoint = endpoint
        self.place = f"{name} at {endpoint}"
        token = job.token()
        self.has_token = bool(token)
        # Older routes of the service know the cookie alone. Neither is sent on to another host.
        headers = {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}
        self.client = open_client(job.environment, headers)
        weakref.finalize(self, self.client.close)  # connections wait in it for the next request

    def list_files(self, revision: str) -> Listing:
        """Find the commit of a branch or tag, whose files are those of the branch."""
        asked = revision
        answer = self._answer(asked)
        if answer is None and asked in DEFAULTS:
            asked = DEFAULTS[asked]
            answer = self._answer(asked)
        if answer is None:
            raise NotFoundError(
                "RevisionNotFound",
                f"{self.place} has no revision {revision}: name a branch, tag or commit of it{self._known()}",
            )
        found = remote_files(answer["Files"])
        commit = asked if COMMIT.fullmatch(asked) else self._commit(asked, answer, found)
        return Listing(commit, found, self._license(commit, found))

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """Read part of a file; of a small one, which comes whole, the bytes before are dropped."""
        end = min(start + length, file.size)
        if start >= end:
            return b""
        wanted = bytearray()
        with self._opened(commit, file, f"bytes={start}-{end - 1}") as response:
            skip = start - begins(response, start)
            for block in response.iter_bytes():
                wanted += block
                if len(wanted) >= skip + end - start:
                    break
        return bytes(wanted[skip : skip + end - start])

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """Append what is missing to ``target``; cut connections are taken up again."""

        @contextmanager
        def stream(start: int) -> Iterator[Stream]:
            with self._asked(
                self._url("repo"), _named(commit, file), f"bytes={start}-" if start else ""
            ) as response:
                yield Stream(begins(response, start), response.iter_bytes())

        with translated(self.endpoint, f"{self.name} ({file.path})"):
            bring(file, target, stream, cuts())

    def _answer(self, revision: str, root: str = "") -> dict[str, Any] | None:
        """Return what the service says of a revision, all its files in ``Files``; None for an unknown one."""
        query = {"Revision": revision, "Recursive": "True", **({"Root": root} if root else {})}
        given = self._json("repo/files", query)
        if not isinstance(given, dict) or not isinstance(given.get("Files"), list):
            return None
        answer: dict[str, Any] = given
        if len(answer["Files"]) >= MOST:
            answer = self._json("repo/files", {**query, "Recursive": "False"})
            folders = [one["Path"] for one in answer["Files"] if one.get("Type") == "tree"]
            inside = (self._answer(revision, folder) or {"Files": []} for folder in folders)
            answer["Files"] += [one for each in inside for one in each["Files"]]
        return answer

    def _commit(self, revision: str, answer: Mapping[str, Any], found: tuple[RemoteFile, ...]) -> str:
        """Return the commit that holds these very files: the service names it in part only."""
        for commit in candidates(answer)[:CANDIDATES]:
            other = self._answer(commit)
            if other is not None and set(remote_files(other["Files"])) == set(found):
                return commit
        raise NotFoundError(
            "RevisionNotFound",
            f"{self.place} names no commit that holds what {revision} does: name a commit instead",
        )

    def _known(self) -> str:
        """Return the known branches and tags, for a message."""
        answer = self._json("revisions", {})
        given = answer.get("RevisionMap") if isinstance(answer, dict) else None
        named = [one for part in (given or {}).values() for one in part or ()]
        known = [str(one["Revision"]) for one in named if one.get("Revision")]
        return f" ({', '.join(known[:10])})" if known else ""

    def _license(self, commit: str, found: tuple[RemoteFile, ...]) -> str:
        card = next((one for one in found if one.path == model_card.README), None)
        if card is None or not 0 < card.size <= model_card.LIMIT:
            return ""
        return model_card.license_id(self.read_range(commit, card, 0, card.size).decode(errors="replace"))

    def _url(self, route: str) -> str:
        return f"{self.endpoint}/api/v1/models/{self.name}/{route}"

    def _json(self, route: str, query: Mapping[str, str]) -> Any:
        """Return ``Data`` of an answer."""
        with (
            translated(self.endpoint, f"{self.name} ({route})"),
            self._asked(self._url(route), query) as response,
        ):
            body = read_whole(response)
            try:
                answer = json.loads(body)
                return answer["Data"]
            except (ValueError, KeyError, TypeError) as error:
                raise ToolError(
                    "NotAHub",
                    f"{self.endpoint} answers, but not as ModelScope does ({route}). Correct "
                    "sources.modelscope.endpoint of the chart, or let the proxy pass this host",
                ) from error

    @contextmanager
    def _opened(self, commit: str, file: RemoteFile, range_: str) -> Iterator[httpx2.Response]:
        with (
            translated(self.endpoint, f"{self.name} ({file.path})"),
            self._asked(self._url("repo"), _named(commit, file), range_) as response,
        ):
            yield response

    @contextmanager
    def _asked(self, url: str, query: Mapping[str, str], range_: str = "") -> Iterator[httpx2.Response]:
        headers = {"Range": range_} if range_ else {}
        with self.client.stream("GET", url, params=dict(query), headers=headers) as response:
            if response.is_error:
                what = query.get("FilePath", "")
                raise self._from_status(response.status_code, response.url.host, what)
            yield response

    def _from_status(self, status: int, host: str, what: str) -> StageError:
        if status == UNAUTHORIZED and self.has_token:
            return DeniedError(
                "TokenRejected",
                f"{self.place} refuses the token: put a valid one into the Secret's key token",
            )
        if status == NOT_FOUND and what:
            return NotFoundError("FileNotFound", f"{self.place} no longer has {what}")
        if status in {UNAUTHORIZED, NOT_FOUND}:
            advice = "the token's account may not see it" if self.has_token else "is private"
            check = "check the name, or the token of spec.model.secretRef"
            return NotFoundError(
                "RepositoryNotFound",
                f"{self.place} does not exist, or {advice}: {check}",
            )
        if status == FORBIDDEN:
            return DeniedError(
                "AccessDenied",
                f"{host} forbids {what or 'the list'} of {self.place} (403): accept the terms on its page, "
                "and name a token of that account in spec.model.secretRef",
            )
        if not is_passing(status):
            return RequestError("HubRefused", f"{host} refuses {self.place} for good: it answered {status}")
        return TransientError(
            "HubUnavailable", f"{host} answered {status} about {self.place}; it is tried again by itself"
        )


def _named(commit: str, file: RemoteFile) -> dict[str, str]:
    return {"Revision": commit, "FilePath": file.path}


def remote_files(entries: list[dict[str, Any]]) -> tuple[RemoteFile, ...]:
    """Return the files of an answer, without its folders; DataError when one has no size."""
    found = []
    for one in entries:
        if one.get("Type") == "tree":
            continue
        size, path = one.get("Size"), one.get("Path")
        if not isinstance(size, int) or not isinstance(path, str):
            raise DataError("FileNotFound", f"the hub names no size for {path or one.get('Name')}")
        sha256 = str(one.get("Sha256") or "").lower()
        found.append(RemoteFile(path, size, sha256 if SHA256.fullmatch(sha256) else ""))
    return tuple(found)


def candidates(answer: Mapping[str, Any]) -> list[str]:
    """Return whole commits that may be the branch's, the likeliest first.

    The one that the answer names, those that begin as it says, then those of its files, the newest first.
    """
    latest = answer.get("LatestCommitter") or {}
    start = str(latest.get("ShortId") or "") or "?"
    newest = sorted(answer["Files"], key=lambda one: -int(one.get("CommittedDate") or 0))
    known = [str(one.get("Revision") or "").lower() for one in newest]
    ordered = [str(latest.get("Id") or ""), *(one for one in known if one.startswith(start)), *known]
    return list(dict.fromkeys(one for one in ordered if COMMIT.fullmatch(one)))
