"""What sources that speak HTTP share: a client that asks only where it may, the network's errors as ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from slipway_runtime.allowed_hosts import guard
from slipway_runtime.errors import RequestError, ToolError, TransientError

if TYPE_CHECKING:
    import httpx2

REQUEST_SECONDS = 30.0
"""A server that says nothing for this long counts as down; the operator tries again with backoff."""
PARTIAL_CONTENT, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 206, 401, 403, 404
PASSING = frozenset({408, 425, 429})
"""4xx that say "later"; all others say the same however often they are asked."""
SERVER_ERRORS = 500
BODY_LIMIT = 32 << 20
"""Bytes of a list: ten thousand files have a few megabytes."""
SAID_LIMIT = 64 << 10
"""Bytes that are read of what a server says when it refuses."""
CONTENT_RANGE = re.compile(r"bytes\s+([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)")


def is_passing(status: int) -> bool:
    """Whether the same request may be answered later."""
    return status in PASSING or status >= SERVER_ERRORS


def open_client(
    environment: Mapping[str, str],
    headers: Mapping[str, str],
    *checks: Callable[[httpx2.Request], None],
    sign: Callable[[httpx2.Request], httpx2.Request] | None = None,
) -> httpx2.Client:
    """Return a client of allowed hosts that follows redirects, unless it signs: a signature is for one host.

    Args:
        environment: the job's, for ``allowed_hosts``.
        headers: of every request; of them Authorization is not sent on to other hosts.
        checks: raise for a request that must not be sent, those after redirects included.
        sign: adds a signature.
    """
    import httpx2

    return httpx2.Client(
        # Compressed text would have another length than was said, and can't be resumed.
        headers={"User-Agent": "slipway", "Accept-Encoding": "identity", **headers},
        timeout=REQUEST_SECONDS,
        auth=sign,
        follow_redirects=sign is None,
        event_hooks={"request": [guard(environment), *checks], "response": [_bound]},
    )


def _bound(response: httpx2.Response) -> None:
    """Let no more than ``SAID_LIMIT`` bytes be read of an answer that isn't what was asked for.

    The client itself reads refusals and redirects before it sends the next request. What one has compressed
    is left so: it would become a thousand times longer.
    """
    if response.is_success:
        return
    if response.headers.get("Content-Encoding"):
        del response.headers["Content-Encoding"]
    _end_after(response, SAID_LIMIT)


def read_whole(response: httpx2.Response, limit: int = BODY_LIMIT) -> bytes:
    """Return the body of an answer that is no file, such as a list.

    Raises:
        ToolError: NotAHub, it has more than ``limit`` bytes, or as ``read_start``.
    """
    body = read_start(response, limit)
    if len(body) > limit:
        raise _no_answer(response, f"more than {limit >> 20} MiB, where a list or a few words belong")
    return body


def read_start(response: httpx2.Response, limit: int) -> bytes:
    """Return the body of an answer; of one that has more than ``limit`` bytes one byte more.

    Raises:
        ToolError: NotAHub, it is compressed though nobody asked for that.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise _no_answer(response, f"something compressed ({encoding[:20]}), which was not asked for")
    _end_after(response, limit + 1)
    return response.read()


def _end_after(response: httpx2.Response, limit: int) -> None:
    """Have the body of an answer end after so many bytes."""
    import httpx2

    stream = cast("httpx2.SyncByteStream", response.stream)

    class Start(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            left = limit
            for block in stream:
                yield block[:left]
                left -= len(block)
                if left <= 0:
                    return

        def close(self) -> None:
            stream.close()

    response.stream = Start()


def _no_answer(response: httpx2.Response, what: str) -> ToolError:
    return ToolError(
        "NotAHub",
        f"{response.url.host} answers with {what}. Correct its address, or let the proxy pass this host",
    )


def begins(response: httpx2.Response, wanted: int) -> int:
    """Return which byte an answer begins with: 0 from servers that ignore Range, and send the whole.

    Caches may begin earlier than they were asked to, at a slice of their own.

    Raises:
        RequestError: HubRefused, it does not say where it begins, or behind the byte that was wanted.
    """
    if response.status_code != PARTIAL_CONTENT:
        return 0
    said = response.headers.get("Content-Range", "")
    match = CONTENT_RANGE.fullmatch(said.strip())
    if match is None or int(match[1]) > wanted:
        raise RequestError(
            "HubRefused",
            f"{response.url.host} was asked for a file from byte {wanted} on and answered with "
            f"{said[:100] or 'a part from nowhere'!r}: it is at fault, or a cache before it",
        )
    return int(match[1])


def cuts() -> tuple[type[Exception], ...]:
    """Return the errors of a connection that ended early."""
    import httpx2

    return (httpx2.ConnectError, httpx2.TimeoutException, httpx2.RemoteProtocolError, httpx2.ReadError)


def unanswered(endpoint: str, about: str, error: Exception) -> TransientError:
    """Return HubUnavailable with the client's own words; of a certificate that nobody trusts, what to do."""
    untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
    advice = "Name the certificate authority that signed it" if untrusted else "It is tried again by itself"
    message = f"no answer from {endpoint} about {about}: {type(error).__name__} {error}. {advice}"
    return TransientError("HubUnavailable", message)


@contextmanager
def translated(endpoint: str, about: str) -> Iterator[None]:
    """Turn the network's errors into ours."""
    import httpx2

    try:
        yield
    except httpx2.TooManyRedirects as error:
        raise RequestError("HubRefused", f"{endpoint} redirects without end: {about}") from error
    except httpx2.HTTPError as error:
        raise unanswered(endpoint, about, error) from error
