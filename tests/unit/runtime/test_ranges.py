"""A part of a file says where it begins: earlier than asked is cut to fit, anything else is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx2
import pytest

from slipway_runtime import resuming
from slipway_runtime.errors import RequestError, StageError
from slipway_runtime.fetch import fetch_one
from slipway_runtime.sources import RemoteFile, Repository, connect
from slipway_runtime.sources.modelscope import ModelScopeRepository
from slipway_runtime.sources.oci import OciRepository
from slipway_runtime.sources.s3 import BucketFolder, Object
from slipway_runtime.web import begins
from tests.support.http_server import answering
from tests.support.web_files import closing_clients

from .conftest import Bench

CONTENT = bytes(range(251)) * 40
SLICE = 1000
FILE = RemoteFile("model.gguf", len(CONTENT))


class Slices(BaseHTTPRequestHandler):
    """A cache that sends whole slices and says so; the first body is cut."""

    protocol_version = "HTTP/1.1"
    cut: list[int]
    words = "bytes {0}-{1}/{2}"

    def do_GET(self) -> None:
        asked, first, last = self.headers.get("Range", ""), 0, len(CONTENT) - 1
        if asked:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            first, last = int(low) // SLICE * SLICE, int(high or last)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", self.words.format(first, last, len(CONTENT)))
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        whole = CONTENT[first : last + 1]
        self.wfile.write(whole[: self.cut.pop()] if self.cut and len(whole) > SLICE else whole)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def connected(bench: Bench, scheme: str, **manners: Any) -> Iterator[Repository]:
    """A source of that scheme whose server is such a cache, its one file listed already."""
    with answering(type("Served", (Slices,), {"cut": [2500], **manners})) as url:
        host = url.removeprefix("http://")
        at = {f"SLIPWAY_ENDPOINT_{scheme.upper()}": url, "HF_ENDPOINT": url}
        source = {
            "https": "https://models.example/model.gguf",
            "s3": "s3://bucket/folder",
            "modelscope": "modelscope://acme/m",
            "oci": f"oci://{host}/acme/m:v1",
            "hf": "hf://acme/m",
        }[scheme]
        found = connect(bench.job("fetch", SLIPWAY_SOURCE=source, **at))
        if isinstance(found, BucketFolder):
            found.objects = {FILE.path: Object(FILE, "k", '"x"', "", b"")}
        elif isinstance(found, OciRepository):
            found._members = {FILE.path: found_member()}
        elif not isinstance(found, ModelScopeRepository) and scheme == "https":
            found.list_files("main")
        yield found


def found_member() -> Any:
    from slipway_runtime.oci_layout import Member

    return Member(FILE.path, FILE.size, "sha256:" + "a" * 64, 0)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resuming.bring, "__defaults__", (0.0,))
    with closing_clients(monkeypatch):
        yield


@pytest.mark.parametrize("scheme", ["https", "s3", "modelscope", "oci", "hf"])
def test_slices_that_begin_earlier_are_read_where_they_belong(bench: Bench, scheme: str) -> None:
    with connected(bench, scheme, cut=[]) as found:
        assert found.read_range("c", FILE, 2345, 700) == CONTENT[2345:3045]


@pytest.mark.parametrize("scheme", ["https", "s3", "modelscope", "oci"])
def test_and_a_cut_download_goes_on_by_them(bench: Bench, scheme: str) -> None:
    with connected(bench, scheme) as found:
        fetch_one(found, "c", FILE, bench.store)
    assert (bench.store / FILE.path).read_bytes() == CONTENT


@pytest.mark.parametrize("words", ["bytes 2346-3044/10040", "bytes */10040", "3 to 5 of 10040", ""])
def test_what_does_not_fit_is_refused(bench: Bench, words: str) -> None:
    with connected(bench, "oci", words=words) as found, pytest.raises(StageError) as caught:
        found.read_range("c", FILE, 2345, 700)
    assert caught.value.reason == "HubRefused"
    assert "from byte 2345 on" in caught.value.message


def test_a_whole_answer_begins_at_its_first_byte() -> None:
    request = httpx2.Request("GET", "https://models.example/x")
    assert begins(httpx2.Response(200, request=request), 7) == 0
    with pytest.raises(RequestError):
        begins(httpx2.Response(206, request=request), 7)
