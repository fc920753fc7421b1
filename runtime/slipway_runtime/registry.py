"""One repository of a registry, read by OCI's distribution protocol. For oci, ollama, and pushes.

No library is behind it: oras 0.2.43 goes on with no cut download, compares no digest, and would bring
requests beside httpx2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from slipway_runtime.registry_login import Login, credential_of
from slipway_runtime.registry_reference import DIGEST, Place
from slipway_runtime.resuming import Stream, bring
from slipway_runtime.sources import RemoteFile
from slipway_runtime.web import (
    FORBIDDEN,
    NOT_FOUND,
    UNAUTHORIZED,
    begins,
    cuts,
    is_passing,
    open_client,
    read_start,
    translated,
)

if TYPE_CHECKING:
    import httpx2

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
ACCEPT = f"{OCI_MANIFEST}, {OCI_INDEX}, {DOCKER_MANIFEST}, {DOCKER_LIST}"
MANIFEST_LIMIT = 4 << 20
"""Bytes of a manifest or a configuration at most, as the distribution specification has it."""
SAID_LIMIT = 300
"""Characters of a registry's own words in a message."""


class HiddenError(DeniedError):
    """The registry shows this to nobody who asks so: it is private, or nobody pushed it yet."""


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index: its digest over the bytes that came, and its JSON."""

    digest: str
    document: Mapping[str, Any]

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests instead of layers."""
        return self.document.get("mediaType") in INDEXES or "manifests" in self.document


class Registry:
    """A connection to one repository. Its methods raise StageErrors only, and OSError for the local disk.

    Attributes:
        endpoint: URL of the server that is asked.
        name: the repository there, for messages.
    """

    def __init__(self, job: Job, place: Place) -> None:
        self.place = place
        self.endpoint = place.url
        self.name = f"{place.host}/{place.repository}"
        self.login = Login(place, credential_of(job, place))
        self.client = open_client(job.environment, {}, self.require_https)
        self.client.auth = self.login.build()
        self._query = {"ns": place.namespace} if place.namespace else {}

    def url(self, rest: str) -> httpx2.URL:
        """Return the URL of something in the repository, such as ``tags/list``."""
        import httpx2

        return httpx2.URL(f"{self.endpoint}/v2/{self.place.repository}/{rest}", params=self._query)

    def require_https(self, request: httpx2.Request) -> None:
        """Refuse a way that leads from HTTPS to plain HTTP, where anybody may read and change it."""
        if self.endpoint.startswith("https://") and request.url.scheme != "https":
            raise RequestError(
                "HubRefused", f"{self.name} leads to {request.url.host} by plain http: have it name https"
            )

    def manifest(self, reference: str) -> Manifest:
        """Return the manifest that a tag or digest names, its bytes held against the digests that are known.

        Raises:
            DataError: DigestMismatch, or UnsupportedLayout for one that is larger than ``MANIFEST_LIMIT``.
        """
        what = f"manifest {reference}"
        with self.asked("GET", f"manifests/{reference}", what, {"Accept": ACCEPT}) as response:
            body = self._read_bounded(response, what)
            promised = response.headers.get("Docker-Content-Digest", "")
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        for wanted in (reference, promised):
            if DIGEST.fullmatch(wanted) and wanted != digest:
                raise DataError(
                    "DigestMismatch",
                    f"{what} of {self.name} came with digest {digest}, not {wanted}: the registry or "
                    "something on the way changes it",
                )
        return Manifest(digest, self._json(body, what))

    def json_blob(self, digest: str) -> Mapping[str, Any]:
        """Return a small JSON object that is kept as a blob, such as an artifact's configuration."""
        what = f"configuration {digest}"
        with self.asked("GET", f"blobs/{digest}", what) as response:
            body = self._read_bounded(response, what)
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            raise DataError(
                "DigestMismatch", f"{what} of {self.name} came with other bytes than its digest says"
            )
        return self._json(body, what)

    def read(self, digest: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes of a blob; without Range the bytes before come, too, no more."""
        return b"".join(self.blocks(digest, start, length))

    def blocks(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        """Yield ``length`` bytes of a blob from ``start`` on, in pieces; fewer only where the blob ends."""
        left = length
        if not left:
            return
        with (
            translated(self.endpoint, f"{self.name} ({digest})"),
            self.opened(digest, start, length) as stream,
        ):
            skip = start - stream.start
            for block in stream.blocks:
                piece = block[skip : skip + left]
                skip = max(0, skip - len(block))
                left -= len(piece)
                yield piece
                if not left:
                    return

    def download(self, file: RemoteFile, digest: str, offset: int, target: Path) -> None:
        """Append to ``target`` what is missing of a file that begins at ``offset`` of a blob."""

        @contextmanager
        def open_stream(start: int) -> Iterator[Stream]:
            with self.opened(digest, offset + start, file.size - start) as stream:
                yield Stream(start, _behind(stream.blocks, offset + start - stream.start))

        with translated(self.endpoint, f"{self.name} ({file.path})"):
            bring(file, target, open_stream, cuts())

    @contextmanager
    def opened(self, digest: str, start: int, length: int) -> Iterator[Stream]:
        """Open a blob from a byte on; the stream's start is 0 from registries that ignore Range."""
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        with self._sent("GET", self.url(f"blobs/{digest}"), f"blob {digest}", headers) as response:
            yield Stream(begins(response, start), response.iter_bytes())

    @contextmanager
    def asked(
        self, method: str, rest: str, what: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx2.Response]:
        """Send a request about ``what`` and give the answer, errors translated."""
        with (
            translated(self.endpoint, f"{self.name} ({what})"),
            self._sent(method, self.url(rest), what, headers or {}) as response,
        ):
            yield response

    @contextmanager
    def _sent(
        self, method: str, url: httpx2.URL, what: str, headers: Mapping[str, str]
    ) -> Iterator[httpx2.Response]:
        with self.client.stream(method, url, headers=dict(headers)) as response:
            if response.is_error:
                response.read()
                raise self.from_answer(response, what)
            yield response

    def from_answer(self, response: httpx2.Response, what: str) -> StageError:
        """Return our error for a registry's answer, with its own words."""
        status, code, words = response.status_code, *registry_words(response)
        said = f"{response.url.host} answered {status} about {what} of {self.name}{words}"
        if status in {UNAUTHORIZED, FORBIDDEN}:
            reason = "TokenRejected" if status == UNAUTHORIZED and self.login.credential else "AccessDenied"
            # Who logs in by password and is not known sees nothing, whether it exists or not.
            known = status == FORBIDDEN or not self.login.is_basic
            kind = HiddenError if known else DeniedError
            return kind(reason, f"{said}. It is private, or does not exist: {self.login.advice()}")
        if status == NOT_FOUND and code == "NAME_UNKNOWN":
            return NotFoundError("RepositoryNotFound", f"{said}: check the repository's name")
        if status == NOT_FOUND and what.startswith("manifest"):
            return NotFoundError(
                "RevisionNotFound", f"{said}: name a repository, and a tag or digest that it has"
            )
        if status == NOT_FOUND:
            return NotFoundError("FileNotFound", f"{said}: the artifact is no longer whole there")
        if is_passing(status):
            return TransientError("HubUnavailable", f"{said}; it is tried again by itself")
        return RequestError("HubRefused", said)

    def _read_bounded(self, response: httpx2.Response, what: str) -> bytes:
        body = read_start(response, MANIFEST_LIMIT)
        if len(body) > MANIFEST_LIMIT:
            raise DataError(
                "UnsupportedLayout",
                f"{what} of {self.name} has more than {MANIFEST_LIMIT >> 20} MiB, as much as registries "
                "have to keep",
            )
        return body

    def _json(self, body: bytes, what: str) -> Mapping[str, Any]:
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ToolError(
                "NotAHub",
                f"{self.endpoint} answers about {what} of {self.name} with something that is no JSON object: "
                "correct the registry's address, or let the proxy pass it",
            )
        return document


def registry_words(response: httpx2.Response) -> tuple[str, str]:
    """Return the code of the first error in an answer, and what it says, for a message; empty without any."""
    try:
        error = response.json()["errors"][0]
        code, text = str(error.get("code", "")), str(error.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", ""
    return code, f" ({f'{code} {text}'.strip()[:SAID_LIMIT]})"


def _behind(blocks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    """Yield what comes behind the first ``skip`` bytes."""
    for block in blocks:
        if skip < len(block):
            yield block[skip:]
        skip = max(0, skip - len(block))
