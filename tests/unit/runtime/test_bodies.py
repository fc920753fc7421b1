"""What a server answers beside files is read as far as such words go, and never unpacked."""

from __future__ import annotations

import gzip
import resource
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from slipway_runtime import web
from slipway_runtime.errors import StageError
from slipway_runtime.sources import connect
from tests.support.http_server import answering
from tests.support.web_files import closing_clients

from .conftest import Bench

BOMB = gzip.compress(bytes(64 << 20), 9)
ROOM = 24 << 20
"""Bytes that a process may grow by when it reads nothing of it: less than the bomb has."""


class Hostile(BaseHTTPRequestHandler):
    """Answers everything in one way."""

    status = 200
    said: Mapping[str, str] = {}
    bodies: tuple[bytes, ...] = (BOMB,)

    def do_GET(self) -> None:
        self.send_response(self.status)
        for name, value in self.said.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for body in self.bodies:
                self.wfile.write(body)
        except ConnectionError:
            return

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with closing_clients(monkeypatch):
        yield


def refused(bench: Bench, scheme: str, **manners: Any) -> StageError:
    """List a model of a server with these manners; returns the refusal."""
    with answering(type("Served", (Hostile,), manners)) as url:
        source = {
            "oci": f"oci://{url.removeprefix('http://')}/acme/m:v1",
            "s3": "s3://bucket/folder",
            "modelscope": "modelscope://acme/m",
        }[scheme]
        at = {f"SLIPWAY_ENDPOINT_{scheme.upper()}": url}
        found = connect(bench.job("fetch", SLIPWAY_SOURCE=source, **at))
        with pytest.raises(StageError) as caught:
            found.list_files("main")
    return caught.value


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.parametrize("scheme", ["oci", "s3", "modelscope"])
@pytest.mark.parametrize("status", [200, 302, 401, 404])
def test_nothing_that_was_compressed_is_unpacked(bench: Bench, scheme: str, status: int) -> None:
    before = peak()
    said = {"Content-Encoding": "gzip", "Location": "/elsewhere", "WWW-Authenticate": "Basic"}
    error = refused(bench, scheme, status=status, said=said)
    assert peak() - before < ROOM
    reasons = {
        200: {"NotAHub"},
        302: {"HubRefused"},
        401: {"AccessDenied", "RepositoryNotFound"},
        404: {"RevisionNotFound", "RepositoryNotFound"},
    }
    assert error.reason in reasons[status]


@pytest.mark.parametrize("scheme", ["s3", "modelscope"])
def test_a_list_without_end_is_none(bench: Bench, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(web.read_whole, "__defaults__", (1 << 20,))
    error = refused(bench, scheme, bodies=(b" " * 65536,) * 64)
    assert (error.reason, "more than 1 MiB" in error.message) == ("NotAHub", True)


def test_a_token_is_a_few_words(bench: Bench) -> None:
    with answering(type("Realm", (Hostile,), {"said": {"Content-Encoding": "gzip"}})) as realm:
        challenge = {"WWW-Authenticate": f'Bearer realm="{realm}/token",service="x"'}
        error = refused(bench, "oci", status=401, said=challenge, bodies=())
    assert error.reason == "NotAHub"


@pytest.mark.parametrize("status", [401, 404, 500])
def test_of_a_refusal_without_end_the_beginning_is_read(bench: Bench, status: int) -> None:
    before = peak()
    error = refused(bench, "oci", status=status, bodies=(b"x" * (1 << 20),) * 64)
    assert error.reason in {"AccessDenied", "RevisionNotFound", "HubUnavailable"}
    assert peak() - before < ROOM
