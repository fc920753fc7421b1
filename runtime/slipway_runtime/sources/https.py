"""One file behind an HTTPS address, ``https://HOST/PATH/NAME.gguf#sha256=HEX``. Found by ``sources``.

With a digest in the address that is the pin. Without one it is ``pinning.listing_pin`` over size and ETag, or
the time of change, and each answer is held against them. Folders are not read: no list of a folder's files
has become a convention.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from slipway_runtime.errors import (
    DeniedError,
    NotFoundError,
    RequestError,
    StageError,
    ToolError,
    TransientError,
)
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER, plain
from slipway_runtime.pinning import PREFIX, changed_meanwhile, listing_pin, require_pin
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
    translated,
)

if TYPE_CHECKING:
    import httpx2

EXAMPLE = "https://models.example.com/qwen2.5-7b-q4_k_m.gguf"
DIGEST = re.compile(r"sha256=([0-9a-fA-F]{64})")
ARCHIVES = (".tar", ".tgz", ".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
UNSATISFIABLE, GONE = 416, 410


@dataclass(frozen=True)
class Address:
    """What the URI says: where the file is, its name, and its sha256 (empty when it says none)."""

    url: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Answer:
    """What a server says of the file: bytes, and what changes with its content (empty when it says none)."""

    size: int
    mark: str


def connect(job: Job) -> WebFile:
    """Return a connection to the file; RequestError when the address is malformed or names none."""
    return WebFile(job, read_address(job.source, job.endpoint_of("https")))


def read_address(source: str, mirror: str) -> Address:
    """Return what a URI says; of a mirror the path begins with the host, ``MIRROR/HOST/PATH``.

    Raises:
        RequestError: UnknownScheme, it is no address of one file.
    """
    try:
        parts = urlsplit(source)
        _ = parts.port  # read as a number only when it is asked for
    except ValueError as error:
        raise RequestError("UnknownScheme", f"{plain(source)!r} is no address of a host") from error
    digest = DIGEST.fullmatch(parts.fragment)
    name = unquote(parts.path.rsplit("/", 1)[-1])
    problem = ""
    if not parts.hostname or (parts.fragment and digest is None):
        problem = f"is no address of a file, as in {EXAMPLE}, with #sha256=HEX behind it or nothing"
    elif parts.username is not None or parts.password is not None:
        problem = "holds a password: put it into a Secret, named in spec.model.secretRef"
    elif not name or name in {".", ".."} or "/" in name or "\\" in name:
        problem = "names no file: one file is fetched, such as model.gguf, and no folder"
    elif name.lower().endswith(ARCHIVES):
        problem = "is an archive, which is not unpacked: name the file itself, such as model.gguf"
    if problem:
        shown = urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", parts.fragment))
        raise RequestError("UnknownScheme", f"{shown} {problem}")
    url = urlunsplit(("https", parts.netloc, parts.path, parts.query, ""))
    if mirror:
        url = f"{mirror}/{url.removeprefix('https://')}"
    return Address(url, name, digest[1].lower() if digest else "")


class WebFile:
    """One file of one server, read with the Secret's user or token or as anybody."""

    def __init__(self, job: Job, address: Address) -> None:
        self.address = address
        self.endpoint = "{0.scheme}://{0.netloc}".format(urlsplit(address.url))
        self.place = address.url.partition("?")[0]
        self.listed = Answer(0, "")
        headers = _credentials(job)
        self.has_credentials = bool(headers)
        self.client = open_client(job.environment, headers, self._require_https)

    def list_files(self, revision: str) -> Listing:
        """Ask for the first byte, which tells size and mark: signed addresses answer no HEAD."""
        with translated(self.endpoint, self.place), self._asked("bytes=0-0") as response:
            answer = _read(response, self.place)
        if self.address.sha256:
            pin = PREFIX + self.address.sha256
        else:
            if not answer.mark:
                raise RequestError(
                    "NotPinned",
                    f"{self.place} comes without ETag and Last-Modified, so that nobody would see it change: "
                    "add #sha256= and the file's digest to the address",
                )
            LOGGER.warning(
                "%s is pinned by its size and %s alone: add #sha256= to the address to pin its content",
                self.place,
                answer.mark,
            )
            pin = listing_pin([(self.address.name, answer.size, answer.mark)])
        require_pin(self.place, revision, pin)
        self.listed = answer
        return Listing(pin, (RemoteFile(self.address.name, answer.size, sha256=self.address.sha256),))

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """Read part of the file; a server that ignores Range costs the bytes before, no more."""
        del commit
        end = min(start + length, file.size)
        if start >= end:
            return b""
        wanted = bytearray()
        with translated(self.endpoint, self.place), self._opened(f"bytes={start}-{end - 1}") as response:
            skip = start - begins(response, start)
            for block in response.iter_bytes():
                wanted += block
                if len(wanted) >= skip + end - start:
                    break
        return bytes(wanted[skip : skip + end - start])

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """Append what is missing to ``target``; cut connections are taken up again."""
        del commit
        with translated(self.endpoint, self.place):
            bring(file, target, self._stream, cuts())

    @contextmanager
    def _stream(self, start: int) -> Iterator[Stream]:
        with self._opened(f"bytes={start}-" if start else "") as response:
            yield Stream(begins(response, start), response.iter_bytes())

    @contextmanager
    def _opened(self, range_: str) -> Iterator[httpx2.Response]:
        """Open the file, or refuse what is no longer what was listed; with a digest only its size counts."""
        with self._asked(range_) as response:
            now = _read(response, self.place)
            if now.size != self.listed.size or (not self.address.sha256 and now.mark != self.listed.mark):
                raise changed_meanwhile(self.place)
            yield response

    @contextmanager
    def _asked(self, range_: str) -> Iterator[httpx2.Response]:
        headers = {"Range": range_} if range_ else {}
        with self.client.stream("GET", self.address.url, headers=headers) as response:
            if response.is_error and not _is_empty(response):
                raise self._from_status(response.status_code, response.url.host)
            yield response

    def _require_https(self, request: httpx2.Request) -> None:
        """Refuse a way that leads to plain HTTP, but on a mirror that was named so."""
        import httpx2

        if request.url.scheme != "https" and request.url.origin != httpx2.URL(self.address.url).origin:
            raise RequestError(
                "HubRefused",
                f"{self.place} leads to {request.url.host} by plain http, where anybody may change it",
            )

    def _from_status(self, status: int, host: str) -> StageError:
        if status == UNAUTHORIZED and self.has_credentials:
            return DeniedError(
                "TokenRejected",
                f"{host} refuses the Secret's credentials for {self.place}: put a valid token into its key "
                "token, or username and password",
            )
        if status in {UNAUTHORIZED, FORBIDDEN}:
            advice = "give its account access"
            if not self.has_credentials:
                advice = (
                    "put token, or username and password, into a Secret and name it in spec.model.secretRef"
                )
            return DeniedError("AccessDenied", f"{host} forbids {self.place} ({status}): {advice}")
        if status in {NOT_FOUND, GONE}:
            return NotFoundError(
                "RepositoryNotFound", f"{self.place} does not exist ({status}): check the address"
            )
        if not is_passing(status):
            return RequestError("HubRefused", f"{host} refuses {self.place} for good: it answered {status}")
        return TransientError(
            "HubUnavailable", f"{host} answered {status} about {self.place}; it is tried again by itself"
        )


def _credentials(job: Job) -> dict[str, str]:
    """Return the header for the Secret's token, else for its user and password, else nothing."""
    token, user, password = job.token(), job.credential("username"), job.credential("password")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user or password:
        pair = base64.b64encode(f"{user or ''}:{password or ''}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}


def _read(response: httpx2.Response, place: str) -> Answer:
    """Return size and mark of the whole file from an answer to a whole or partial request.

    Raises:
        ToolError: NotAHub, a web page came instead, such as that of a login.
        RequestError: HubRefused, the server says no size.
    """
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise ToolError(
            "NotAHub",
            f"{response.url.host} answers for {place} with a web page, as a login or a proxy does: "
            "name the address of the file itself",
        )
    of_range = response.headers.get("Content-Range", "").rpartition("/")[2]
    text = of_range or response.headers.get("Content-Length", "")
    if not text.isdecimal():
        raise RequestError("HubRefused", f"{response.url.host} does not say how many bytes {place} has")
    etag, changed = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    mark = f"ETag {etag}" if etag else f"Last-Modified {changed}" if changed else ""
    return Answer(int(text), mark)


def _is_empty(response: httpx2.Response) -> bool:
    """Whether a first byte was asked for and there is none."""
    return response.status_code == UNSATISFIABLE and response.headers.get("Content-Range") == "bytes */0"
