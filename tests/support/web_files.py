"""A web server of files in memory, with the faults and manners of real ones. For tests of sources."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx2
import pytest

from tests.support.http_server import answering


@contextmanager
def closing_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close at the end what the body opened: a stage's process ends instead."""
    opened: list[httpx2.Client] = []

    class Client(httpx2.Client):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            opened.append(self)

    monkeypatch.setattr(httpx2, "Client", Client)
    yield
    for client in opened:
        client.close()


@dataclass
class WebFiles:
    """What the server holds and how it behaves.

    Attributes:
        files: content by path.
        moved: path to the URL that it redirects to.
        authorization: what the header must be; None lets everybody in.
        ranges: whether parts are sent.
        marks: whether ETags are sent.
        cut_after: bytes of a body after which the connection ends, once for each element.
        seen: the headers of every request, with its path.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    authorization: str | None = None
    ranges: bool = True
    marks: bool = True
    content_type: str = "application/octet-stream"
    status: int = 0
    cut_after: list[int] = field(default_factory=list)
    seen: list[tuple[str, Message]] = field(default_factory=list)
    url: str = ""

    def ranges_asked(self) -> list[str]:
        """Return the Range headers since the last call."""
        asked = [headers.get("Range", "") for _, headers in self.seen]
        self.seen.clear()
        return asked


class Handler(BaseHTTPRequestHandler):
    """Answers for what ``served`` holds."""

    protocol_version = "HTTP/1.1"

    def __init__(self, served: WebFiles, *arguments: Any) -> None:
        self.served = served
        super().__init__(*arguments)

    def do_GET(self) -> None:
        path, served = self.path.partition("?")[0], self.served
        served.seen.append((path, self.headers))
        if served.status:
            self._end(served.status)
        elif path in served.moved:
            self._end(302, {"Location": served.moved[path]})
        elif served.authorization not in (None, self.headers.get("Authorization")):
            self._end(401)
        elif path in served.files:
            self._send(served.files[path])
        else:
            self._end(404)

    def _send(self, content: bytes) -> None:
        headers = {"Content-Type": self.served.content_type}
        if self.served.marks:
            headers["ETag"] = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not (asked and self.served.ranges):
            return self._end(200, headers, content)
        start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if start >= len(content):
            return self._end(416, {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return self._end(206, headers, content[start : end + 1])

    def _end(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.served.cut_after and len(body) > 1:
            body = body[: self.served.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        pass


@contextmanager
def serving(served: WebFiles, tls: ssl.SSLContext | None = None) -> Iterator[WebFiles]:
    """Serve on a loopback port for the body; the URL is in ``served.url``."""
    with answering(partial(Handler, served), tls) as url:
        served.url = url
        yield served
