"""Hosts that models may be fetched from: every source, and wherever it is sent on to."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory

from slipway_runtime import certificates
from slipway_runtime.allowed_hosts import VARIABLE, require_host
from slipway_runtime.contract import Exit
from slipway_runtime.errors import RequestError, StageError
from slipway_runtime.sources import SCHEMES, connect, load
from tests.support.http_server import answering
from tests.support.web_files import WebFiles, closing_clients, serving

from .conftest import Bench, HubServer
from .test_certificates import write_certificate


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No client stays open, and huggingface_hub's asks nobody's list any more."""
    with closing_clients(monkeypatch):
        yield
    set_client_factory(default_client_factory)


@pytest.mark.parametrize(
    ("allowed", "url", "lets"),
    [
        ("", "https://anywhere.example.com/", True),
        (" , ", "https://anywhere.example.com/", True),
        ("hub.example.com", "https://hub.example.com:8443/x", True),
        ("Hub.Example.com", "https://HUB.example.com./x", True),
        ("a.org, hub.example.com", "https://hub.example.com/", True),
        ("hub.example.com", "https://nohub.example.com/", False),
        ("hub.example.com", "https://hub.example.com.evil.org/", False),
        ("hub.example.com", "https://hub.example.com@evil.org/", False),
        (".example.com", "https://a.b.example.com/", True),
        (".example.com", "https://example.com/", False),
        (".example.com", "https://badexample.com/", False),
        ("10.0.0.1", "http://10.0.0.1:9000/", True),
        ("::1", "http://[::1]:9000/", True),
        ("example.com", "no url", False),
    ],
)
def test_which_hosts_a_list_lets_through(allowed: str, url: str, *, lets: bool) -> None:
    if lets:
        require_host({VARIABLE: allowed}, url)
        return
    with pytest.raises(RequestError) as caught:
        require_host({VARIABLE: allowed}, url)
    assert (caught.value.reason, caught.value.code) == ("HostNotAllowed", Exit.CONFIG)


@pytest.mark.parametrize("scheme", [one for one in SCHEMES if one != "pvc"])  # a claim is mounted
def test_every_source_is_held_to_the_list(bench: Bench, scheme: str) -> None:
    environment = {"SLIPWAY_SOURCE": load(scheme).EXAMPLE, VARIABLE: "only.example.org"}
    with pytest.raises(StageError) as caught:
        connect(bench.job("inspect", **environment))
    assert caught.value.reason == "HostNotAllowed"
    assert "only.example.org" in caught.value.message
    connect(bench.job("inspect", **environment | {VARIABLE: ""}))


def test_a_hub_that_sends_us_elsewhere(bench: Bench, hub: HubServer) -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(307)
            self.send_header("Location", hub.url + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
            pass

    with answering(Elsewhere) as url:
        there = {"HF_ENDPOINT": url.replace("127.0.0.1", "localhost")}
        assert connect(bench.job("inspect", **there)).list_files("main").files
        hub.requests()
        with pytest.raises(StageError, match=r"not be fetched from 127\.0\.0\.1") as caught:
            connect(bench.job("inspect", **there | {VARIABLE: "localhost"})).list_files("main")
    assert (caught.value.reason, len(asked)) == ("HostNotAllowed", 2)
    assert hub.requests() == {}


def test_a_web_server_that_sends_us_elsewhere(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in certificates.VARIABLES:
        monkeypatch.setenv(name, "")
    certificate, key = write_certificate(bench.folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(WebFiles(), context) as web:
        web.moved["/model.gguf"] = "https://elsewhere.example.com/model.gguf"
        environment = {"SLIPWAY_SOURCE": f"{web.url}/model.gguf", "SLIPWAY_CA_FILE": str(certificate)}
        repository = connect(bench.job("inspect", **environment, **{VARIABLE: "127.0.0.1"}))
        with pytest.raises(StageError, match=r"not be fetched from elsewhere\.example\.com"):
            repository.list_files("main")
