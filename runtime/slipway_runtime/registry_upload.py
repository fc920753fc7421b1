"""Blobs and manifests on their way into a registry: nothing twice, large ones in parts. For stores/oci.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway_runtime.errors import (
    DeniedError,
    NotFoundError,
    RequestError,
    StageError,
    StoreFullError,
    TransientError,
)
from slipway_runtime.log import LOGGER
from slipway_runtime.registry import Registry, registry_words
from slipway_runtime.resuming import FRUITLESS, PAUSE_SECONDS
from slipway_runtime.web import FORBIDDEN, NOT_FOUND, UNAUTHORIZED, cuts, is_passing, read_whole, translated

if TYPE_CHECKING:
    import httpx2

CHUNK = 64 << 20
"""Bytes of one request; what a cut connection costs at most. Smaller blobs go in one."""
STORED_SECONDS = 600.0
"""A registry may read a whole blob again before it says that it has it."""
NOT_ALLOWED, TOO_LARGE, NO_SPACE, OUT_OF_STEP = 405, 413, 507, 416


@dataclass(frozen=True)
class Blob:
    """What is uploaded; ``read(start, end)`` gives its bytes, as often as it is asked."""

    digest: str
    size: int
    read: Callable[[int, int], Iterator[bytes]]


@dataclass(frozen=True)
class _Body:
    """A part of a blob that can be sent again: a login may be needed in between."""

    blob: Blob
    start: int
    end: int
    seen: Callable[[int], None]

    def __iter__(self) -> Iterator[bytes]:
        at = self.start
        for block in self.blob.read(self.start, self.end):
            yield block
            at += len(block)
            self.seen(at)


class OutOfStepError(TransientError):
    """A part does not begin where the registry's upload ends."""


class Upload:
    """Uploads into one repository. Its methods raise StageErrors only, and OSError for the local disk."""

    def __init__(self, registry: Registry, chunk: int = CHUNK, pause: float = PAUSE_SECONDS) -> None:
        self.registry = registry
        self.chunk = chunk
        self.pause = pause

    def has(self, digest: str) -> bool:
        """Whether the repository holds a blob."""
        try:
            with self.registry.asked("HEAD", f"blobs/{digest}", f"blob {digest}"):
                return True
        except NotFoundError:
            return False

    def put_blob(self, blob: Blob, seen: Callable[[int], None] = lambda _at: None) -> bool:
        """Upload a blob unless it is there; ``seen`` is told the bytes behind us.

        Returns:
            Whether it was uploaded.

        Raises:
            DeniedError: PushRefused, the registry takes nothing from this user, or from nobody.
            StoreFullError: RegistryFull, a quota is used up.
            TransientError: HubUnavailable.
        """
        if self.has(blob.digest):
            LOGGER.info("%s is in %s already", blob.digest, self.registry.name)
            return False
        what = f"upload of {blob.digest}"
        with translated(self.registry.endpoint, f"{self.registry.name} ({what})"):
            if blob.size <= self.chunk or not self._in_parts(blob, what, seen):
                self._finish(self._begin(what), blob, _Body(blob, 0, blob.size, seen), what)
        return True

    def put_manifest(self, reference: str, media_type: str, content: bytes) -> None:
        """Upload a manifest or index under a tag or its digest."""
        what = f"upload of manifest {reference}"
        with translated(self.registry.endpoint, f"{self.registry.name} ({what})"):
            headers = {"Content-Type": media_type}
            self._send("PUT", self.registry.url(f"manifests/{reference}"), what, headers, content)

    def _in_parts(self, blob: Blob, what: str, seen: Callable[[int], None]) -> bool:
        """Upload part by part, going on where the registry says; False where it takes no parts."""
        location, at, furthest, fruitless = self._begin(what), 0, 0, 0
        while at < blob.size:
            body = _Body(blob, at, min(at + self.chunk, blob.size), seen)
            cut: Exception | None = None
            try:
                location, came = self._part(location, body, what)
            except (RequestError, NotFoundError) as error:
                LOGGER.warning(
                    "%s takes no parts, so the whole is sent at once: %s", self.registry.name, error
                )
                return False
            except _passing() as error:
                LOGGER.warning("%s was cut behind byte %d: %s", what, at, error)
                cut = error
                time.sleep(self.pause)
                location, came = self._where(location, at, what, refused=isinstance(error, OutOfStepError))
            if came > furthest:
                furthest, fruitless = came, 0
            elif cut or came <= at:
                fruitless += 1
            if fruitless > FRUITLESS:
                raise cut or self._stuck(what, at)
            at = came
        self._finish(location, blob, None, what)
        return True

    def _part(self, location: httpx2.URL, body: _Body, what: str) -> tuple[httpx2.URL, int]:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(body.end - body.start),
            "Content-Range": f"{body.start}-{body.end - 1}",
        }
        response = self._send("PATCH", location, what, headers, body)
        return _next(response, location), _received(response, body.end)

    def _stuck(self, what: str, at: int) -> TransientError:
        message = f"{self.registry.name} takes parts and keeps none of them: {what} stays at byte {at}"
        return TransientError("HubUnavailable", f"{message}. It is tried again by itself")

    def _where(self, location: httpx2.URL, at: int, what: str, *, refused: bool) -> tuple[httpx2.URL, int]:
        """Ask how many bytes have come; anew begins what the registry has forgotten or can't say.

        ``0-0`` is what some say of no byte, too; and ``refused`` is that ``at`` was no byte to go on from.
        """
        try:
            response = self._send("GET", location, what, {})
        except (NotFoundError, RequestError):
            return self._begin(what), 0
        except _passing():
            return location, at  # the next part says whether it is back
        came = _received(response, at)
        if came == 1 or (refused and came == at):
            return self._begin(what), 0
        return _next(response, location), came

    def _begin(self, what: str) -> httpx2.URL:
        url = self.registry.url("blobs/uploads/")
        return _next(self._send("POST", url, what, {"Content-Length": "0"}), url)

    def _finish(self, location: httpx2.URL, blob: Blob, body: _Body | None, what: str) -> None:
        length = str(blob.size if body else 0)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": length}
        self._send("PUT", location.copy_merge_params({"digest": blob.digest}), what, headers, body)

    def _send(
        self,
        method: str,
        url: httpx2.URL,
        what: str,
        headers: Mapping[str, str],
        content: bytes | _Body | None = None,
    ) -> httpx2.Response:
        timeout = STORED_SECONDS if method == "PUT" else self.registry.client.timeout
        with self.registry.client.stream(
            method, url, headers=dict(headers), content=content, timeout=timeout, follow_redirects=False
        ) as response:
            if not response.is_success:
                response.read()
                raise self._from_answer(response, what)
            read_whole(response)  # nothing is in it, and the connection is free for the next part
            return response

    def _from_answer(self, response: httpx2.Response, what: str) -> StageError:
        """Return our error for a registry that does not take something; it says who may push."""
        status, (_, words) = response.status_code, registry_words(response)
        said = f"{response.url.host} answered {status} about the {what} to {self.registry.name}{words}"
        if status == NO_SPACE or "quota" in words.lower():
            return StoreFullError(
                "RegistryFull", f"{said}. Remove what is no longer needed there, or have the quota raised"
            )
        if status in {UNAUTHORIZED, FORBIDDEN, NOT_ALLOWED}:
            advice = "the registry is read-only" if status == NOT_ALLOWED else self.registry.login.advice()
            return DeniedError("PushRefused", f"{said}: {advice}. A user that may push is needed")
        if status == OUT_OF_STEP or is_passing(status):
            passing = OutOfStepError if status == OUT_OF_STEP else TransientError
            return passing("HubUnavailable", f"{said}; it is tried again by itself")
        if status == NOT_FOUND:
            return NotFoundError(
                "RepositoryNotFound", f"{said}: make the repository or its project there first"
            )
        advice = ": a proxy before it limits the size of requests" if status == TOO_LARGE else ""
        return RequestError("HubRefused", f"{said}{advice}")


def _passing() -> tuple[type[Exception], ...]:
    """Return the errors after which an upload goes on."""
    import httpx2

    return (TransientError, httpx2.WriteError, *cuts())


def _next(response: httpx2.Response, location: httpx2.URL) -> httpx2.URL:
    """Return where the upload goes on."""
    named = response.headers.get("Location")
    return response.url.join(named) if named else location


def _received(response: httpx2.Response, otherwise: int) -> int:
    """Return how many bytes a registry has, from ``Range: 0-LAST``."""
    last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
    return int(last) + 1 if last.isdecimal() else otherwise
