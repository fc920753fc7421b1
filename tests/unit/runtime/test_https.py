"""One file behind an HTTPS address: pinned, resumed, and never brought by way of what nobody vouches for."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Iterator

import pytest

from slipway_runtime import certificates, resuming
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch_one
from slipway_runtime.sources import Repository, connect
from slipway_runtime.sources.https import read_address
from tests.support.gguf_models import write_gguf
from tests.support.web_files import WebFiles, closing_clients, serving

from .conftest import Bench
from .test_certificates import write_certificate

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PATH = "/models/tiny.gguf"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What trust() sets in this process ends with the test; a cut is taken up at once."""
    for name in certificates.VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(resuming.bring, "__defaults__", (0.0,))
    with closing_clients(monkeypatch):
        yield


@pytest.fixture
def context(bench: Bench) -> ssl.SSLContext:
    certificate, key = write_certificate(bench.folder)
    bench.environment["SLIPWAY_CA_FILE"] = str(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def web(context: ssl.SSLContext) -> Iterator[WebFiles]:
    with serving(WebFiles({PATH: CONTENT}), context) as served:
        yield served


def repository(bench: Bench, web: WebFiles, tail: str = "", **environment: str) -> Repository:
    return connect(bench.job("fetch", SLIPWAY_SOURCE=f"{web.url}{PATH}{tail}", **environment))


def refuse(bench: Bench, web: WebFiles, tail: str = "", **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        repository(bench, web, tail, **environment).list_files("main")
    return caught.value


def test_a_digest_in_the_address_is_the_pin_and_is_verified(bench: Bench, web: WebFiles) -> None:
    found = repository(bench, web, f"#sha256={DIGEST}")
    listing = found.list_files("main")
    (file,) = listing.files
    assert (listing.commit, file.path, file.size) == (f"sha256:{DIGEST}", "tiny.gguf", len(CONTENT))
    assert found.list_files(listing.commit) == listing
    assert fetch_one(found, listing.commit, file, bench.store).sha256 == DIGEST
    assert (bench.store / "tiny.gguf").read_bytes() == CONTENT
    web.files[PATH] = bytes(len(CONTENT))
    (bench.store / "tiny.gguf").unlink()
    with pytest.raises(StageError) as caught:
        fetch_one(found, listing.commit, file, bench.store)
    assert caught.value.reason == "DigestMismatch"


def test_without_one_the_pin_changes_with_the_file(
    bench: Bench, web: WebFiles, caplog: pytest.LogCaptureFixture
) -> None:
    found = repository(bench, web)
    listing = found.list_files("main")
    assert "add #sha256= to the address" in caplog.text
    assert found.list_files(listing.commit) == listing
    web.files[PATH] = bytes(len(CONTENT))
    with pytest.raises(StageError) as caught:
        found.list_files(listing.commit)
    assert (caught.value.reason, caught.value.code) == ("SourceChanged", Exit.DATA)
    with pytest.raises(StageError) as caught:
        found.download(listing.commit, listing.files[0], bench.store / "part")
    assert (caught.value.reason, caught.value.code) == ("SourceChanged", Exit.DATA)


def test_a_file_that_nothing_marks_needs_a_digest(bench: Bench, web: WebFiles) -> None:
    web.marks = False
    assert refuse(bench, web).reason == "NotPinned"
    assert repository(bench, web, f"#sha256={DIGEST}").list_files("main").commit == f"sha256:{DIGEST}"


def test_a_download_goes_on_behind_its_bytes_and_over_cuts(bench: Bench, web: WebFiles) -> None:
    found, part = repository(bench, web), bench.store / "part"
    listing = found.list_files("main")
    part.write_bytes(CONTENT[:1000])
    web.ranges_asked()
    web.cut_after = [5000]
    found.download(listing.commit, listing.files[0], part)
    assert part.read_bytes() == CONTENT
    assert web.ranges_asked() == ["bytes=1000-", "bytes=6000-"]


def test_a_connection_that_brings_nothing_ends_the_try(bench: Bench, web: WebFiles) -> None:
    found = repository(bench, web)
    listing = found.list_files("main")
    web.cut_after = [0] * 10
    with pytest.raises(StageError) as caught:
        found.download(listing.commit, listing.files[0], bench.store / "part")
    assert (caught.value.reason, caught.value.code) == ("HubUnavailable", Exit.TRANSIENT)
    assert len(web.cut_after) == 10 - 1 - resuming.FRUITLESS


def test_a_server_without_ranges_sends_all_again(bench: Bench, web: WebFiles) -> None:
    web.ranges = False
    found, part = repository(bench, web), bench.store / "part"
    listing = found.list_files("main")
    assert found.read_range(listing.commit, listing.files[0], 300, 20) == CONTENT[300:320]
    part.write_bytes(b"another try's" * 100)
    found.download(listing.commit, listing.files[0], part)
    assert part.read_bytes() == CONTENT


def test_a_range_of_a_file(bench: Bench, web: WebFiles) -> None:
    found = repository(bench, web)
    listing = found.list_files("main")
    size = len(CONTENT)
    assert found.read_range(listing.commit, listing.files[0], 300, 20) == CONTENT[300:320]
    assert found.read_range(listing.commit, listing.files[0], size - 3, 20) == CONTENT[-3:]
    assert found.read_range(listing.commit, listing.files[0], size, 20) == b""


def test_an_empty_file(bench: Bench, web: WebFiles) -> None:
    web.files[PATH] = b""
    found = repository(bench, web, f"#sha256={hashlib.sha256(b'').hexdigest()}")
    listing = found.list_files("main")
    found.download(listing.commit, listing.files[0], bench.store / "part")
    assert (bench.store / "part").read_bytes() == b""


@pytest.mark.parametrize(
    ("keys", "header"),
    [
        ({"token": "abc"}, "Bearer abc"),
        ({"username": "me", "password": "pw"}, "Basic " + base64.b64encode(b"me:pw").decode()),
    ],
)
def test_credentials_go_to_their_host_alone(
    bench: Bench, web: WebFiles, context: ssl.SSLContext, keys: dict[str, str], header: str
) -> None:
    web.authorization = header
    error = refuse(bench, web)
    assert (error.reason, error.code) == ("AccessDenied", Exit.NO_PERMISSION)
    assert "spec.model.secretRef" in error.message
    for name, value in keys.items():
        (bench.folder / name).write_text(value)
    assert repository(bench, web).list_files("main").files[0].size == len(CONTENT)
    with serving(WebFiles({PATH: CONTENT}), context) as other:
        web.moved[PATH] = other.url + PATH
        assert repository(bench, web).list_files("main").files[0].size == len(CONTENT)
        assert [headers.get("Authorization") for _, headers in other.seen] == [None]
    web.moved.clear()
    web.authorization = "another"
    error = refuse(bench, web)
    assert (error.reason, error.code) == ("TokenRejected", Exit.NO_PERMISSION)


def test_no_way_leads_to_plain_http(bench: Bench, web: WebFiles) -> None:
    with serving(WebFiles({PATH: CONTENT})) as plain:
        web.moved[PATH] = plain.url + PATH
        error = refuse(bench, web)
        assert (error.reason, error.code) == ("HubRefused", Exit.CONFIG)
        assert plain.seen == []
        bench.environment["SLIPWAY_SOURCE"] = plain.url + PATH
        with pytest.raises(StageError, match="no source for 'http:"):
            connect(bench.job("inspect"))


def test_a_mirror_is_asked_by_host_and_may_speak_http(bench: Bench) -> None:
    with serving(WebFiles({"/cache/models.example.com" + PATH: CONTENT})) as mirror:
        environment = {
            "SLIPWAY_ENDPOINT_HTTPS": mirror.url + "/cache/",
            "SLIPWAY_SOURCE": f"https://models.example.com{PATH}",
        }
        assert connect(bench.job("inspect", **environment)).list_files("main").files[0].path == "tiny.gguf"


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (404, "RepositoryNotFound", Exit.NO_INPUT),
        (403, "AccessDenied", Exit.NO_PERMISSION),
        (451, "HubRefused", Exit.CONFIG),
        (429, "HubUnavailable", Exit.TRANSIENT),
        (503, "HubUnavailable", Exit.TRANSIENT),
    ],
)
def test_what_a_server_answers(bench: Bench, web: WebFiles, status: int, reason: str, code: Exit) -> None:
    web.status = status
    error = refuse(bench, web)
    assert (error.reason, error.code) == (reason, code)
    assert PATH in error.message


def test_a_login_page_and_a_loop_are_no_files(bench: Bench, web: WebFiles) -> None:
    web.content_type = "text/html; charset=utf-8"
    assert refuse(bench, web).reason == "NotAHub"
    web.moved[PATH] = web.url + PATH
    assert refuse(bench, web).reason == "HubRefused"


def test_a_server_that_is_down_or_unknown(bench: Bench, context: ssl.SSLContext) -> None:
    with serving(WebFiles({PATH: CONTENT}), context) as web:
        error = refuse(bench, web, SLIPWAY_CA_FILE="")
        assert "Name the certificate authority" in error.message
    error = refuse(bench, web)
    assert (error.reason, error.code) == ("HubUnavailable", Exit.TRANSIENT)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("https://host/", "names no file"),
        ("https://host/models/", "names no file"),
        ("https://host/..", "names no file"),
        ("https://host/%2e%2e%2Fpasswd", "names no file"),
        ("https://host/model.tar.gz", "is an archive"),
        ("https://host/model.ZIP", "is an archive"),
        ("https://host/model.gguf#sha256=12", "is no address"),
        ("https://host/model.gguf#md5=12", "is no address"),
        ("https:///model.gguf", "is no address"),
        ("https://host:port/model.gguf", "is no address"),
        ("https://me:hidden@host/model.gguf", "put it into a Secret"),
    ],
)
def test_addresses_that_are_none(source: str, words: str) -> None:
    with pytest.raises(StageError, match=words) as caught:
        read_address(source, "")
    assert (caught.value.reason, caught.value.code) == ("UnknownScheme", Exit.CONFIG)
    assert "hidden" not in caught.value.message


def test_weights_alone_are_no_model(bench: Bench, web: WebFiles) -> None:
    web.files["/model.safetensors"] = b"\0" * 64
    code, result, log = bench.run("inspect", SLIPWAY_SOURCE=f"{web.url}/model.safetensors")
    assert (code, result["reason"]) == (66, "NoConfig"), log


def test_a_gguf_file_is_inspected_and_fetched_by_its_digest(bench: Bench, web: WebFiles) -> None:
    content = write_gguf(bench.folder / "m-Q8_0.gguf", "Q8_0").read_bytes()
    web.files["/m-Q8_0.gguf"] = content
    source = f"{web.url}/m-Q8_0.gguf#sha256={hashlib.sha256(content).hexdigest()}"
    code, result, log = bench.run("inspect", SLIPWAY_SOURCE=source)
    assert (code, result.get("commit")) == (0, f"sha256:{hashlib.sha256(content).hexdigest()}"), log
    environment = {"SLIPWAY_SOURCE": source, "SLIPWAY_REVISION": result["commit"], "SLIPWAY_LEVEL": "Q8_0"}
    code, result, log = bench.run("fetch", **environment)
    assert code == 0, log
    assert content in [path.read_bytes() for path in (bench.store / "published").rglob("*.gguf")]
