"""A registry in memory, with the faults and manners of real ones. For tests of sources and pushes.

The distribution project's own registry runs in tests/sources; it neither cuts connections nor has quotas.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import answering

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Double:
    """What the registry holds and how it behaves.

    Attributes:
        blobs: content by digest.
        manifests: type and content by tag or digest, of any repository.
        uploads: what has come of blobs, by the number of the upload.
        user: who may log in, ``user:password``; empty for everybody.
        scheme: how: ``bearer`` with ``/token``, or ``basic``.
        realm: where tokens come from; empty for this registry.
        storage: URL that blobs are redirected to; empty for none.
        ranges: whether parts of blobs are sent.
        cut_after: bytes of a blob after which its connection ends, once for each element.
        cut_uploads: bytes of a part after which its connection ends, once for each element.
        refused: method to status and body.
        seen: method, path with query and Authorization of every request.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    user: str = ""
    scheme: str = "bearer"
    realm: str = ""
    storage: str = ""
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    cut_uploads: list[int] = field(default_factory=list)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def add_blob(self, content: bytes) -> str:
        digest = digest_of(content)
        self.blobs[digest] = content
        return digest

    def add_manifest(self, tag: str, document: Mapping[str, Any]) -> str:
        content = json.dumps(document).encode()
        media_type = str(document.get("mediaType", MANIFEST))
        self.manifests[tag] = self.manifests[digest_of(content)] = (media_type, content)
        return digest_of(content)

    def add_layers(self, tag: str, layers: list[tuple[str, bytes, dict[str, str]]], **more: Any) -> str:
        """Add a manifest of layers: type, content, annotations; returns its digest."""
        described = [
            {
                "mediaType": media_type,
                "digest": self.add_blob(content),
                "size": len(content),
                "annotations": annotations,
            }
            for media_type, content, annotations in layers
        ]
        return self.add_manifest(
            tag, {"schemaVersion": 2, "mediaType": MANIFEST, "layers": described, **more}
        )

    def asked(self, method: str) -> list[str]:
        """Return the paths of all requests of a method."""
        return [path for one, path, _ in self.seen if one == method]


@contextmanager
def serving(double: Double) -> Iterator[Double]:
    """Serve it on loopback."""
    with answering(partial(Handler, double)) as url:
        double.url = url
        yield double


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, double: Double, *args: Any) -> None:
        self.double = double
        super().__init__(*args)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it so
        """Say nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_GET(self) -> None:
        if not self.admitted():
            return
        parts = urlsplit(self.path)
        name, kind, reference = split(parts.path)
        if parts.path == "/token":
            self.give_token()
        elif kind == "uploads":
            came = len(self.double.uploads[reference])
            self.answer(204, headers={"Range": f"0-{came - 1}", "Location": self.path})
        elif kind == "manifests":
            found = self.double.manifests.get(reference)
            if found is None:
                self.fail(404, "MANIFEST_UNKNOWN", f"manifest unknown in {name}")
                return
            media_type, content = found
            self.answer(
                200, content, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(content)}
            )
        else:
            self.give_blob(reference)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self.admitted():
            number = str(len(self.double.uploads))
            self.double.uploads[number] = bytearray()
            self.answer(202, headers={"Location": f"{urlsplit(self.path).path}{number}?state=x"})

    def do_PATCH(self) -> None:
        if not self.admitted():
            return
        upload = self.double.uploads[split(urlsplit(self.path).path)[2]]
        first = int(self.headers["Content-Range"].partition("-")[0])
        length = int(self.headers["Content-Length"])
        if first != len(upload):
            self.rfile.read(length)
            self.answer(416, headers={"Range": f"0-{len(upload) - 1}"})
            return
        cut = self.double.cut_uploads.pop(0) if self.double.cut_uploads else length
        upload += self.rfile.read(min(cut, length))
        if cut < length:
            self.cut()
            return
        self.answer(202, headers={"Location": self.path, "Range": f"0-{len(upload) - 1}"})

    def do_PUT(self) -> None:
        if not self.admitted():
            return
        parts = urlsplit(self.path)
        _, kind, reference = split(parts.path)
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if kind == "manifests":
            self.double.manifests[reference] = (self.headers["Content-Type"], body)
            self.double.manifests[digest_of(body)] = (self.headers["Content-Type"], body)
        else:
            whole = bytes(self.double.uploads.pop(reference) + body)
            wanted = parse_qs(parts.query)["digest"][0]
            if digest_of(whole) != wanted:
                self.fail(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
                return
            self.double.blobs[wanted] = whole
        self.answer(201)

    def admitted(self) -> bool:
        """Note the request; whether it is to be answered as it asks."""
        authorization = self.headers.get("Authorization", "")
        self.double.seen.append((self.command, self.path, authorization))
        if self.command in self.double.refused:
            status, body = self.double.refused[self.command]
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(status, body.encode())
            return False
        if not self.double.user or self.path.startswith("/token"):
            return True
        bearer = self.double.scheme == "bearer"
        if authorization == ("Bearer t0k" if bearer else f"Basic {basic(self.double.user)}"):
            return True
        realm = self.double.realm or f"{self.double.url}/token"
        challenge = (
            f'Bearer realm="{realm}",service="double",scope="repository:x:pull"' if bearer else "Basic"
        )
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(401, b"{}", {"WWW-Authenticate": challenge})
        return False

    def give_token(self) -> None:
        if self.headers.get("Authorization") != f"Basic {basic(self.double.user)}":
            self.answer(401, b'{"errors": []}')
            return
        self.answer(200, b'{"token": "t0k"}')

    def give_blob(self, digest: str) -> None:
        content = self.double.blobs.get(digest)
        if content is None:
            self.fail(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        if self.double.storage:
            self.answer(307, headers={"Location": f"{self.double.storage}/v2/x/blobs/{digest}"})
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        status, headers = 200, {}
        if asked and self.double.ranges:
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            status, headers = 206, {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
            content = content[first : last + 1]
        cut = (
            self.double.cut_after.pop(0) if self.double.cut_after and self.command == "GET" else len(content)
        )
        if cut >= len(content):
            self.answer(status, content, headers)
            return
        self.answer(status, content[:cut], headers | {"Content-Length": str(len(content))})
        self.cut()

    def cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True

    def fail(self, status: int, code: str, message: str) -> None:
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    def answer(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def split(path: str) -> tuple[str, str, str]:
    """Return repository, kind and reference of a path."""
    match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs/uploads|blobs)/([^/]*)", path)
    if match is None:
        return "", "", ""
    return match[1], match[2].rpartition("/")[2], match[3]


def basic(user: str) -> str:
    return base64.b64encode(user.encode()).decode()
