"""A registry's answers, logins, mirrors and cuts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from slipway_runtime import resuming
from slipway_runtime.contract import Exit
from slipway_runtime.errors import RequestError, StageError
from slipway_runtime.fetch import fetch_one
from slipway_runtime.registry import MANIFEST_LIMIT, Registry
from slipway_runtime.registry_login import read_challenge, realm_may_know
from slipway_runtime.registry_reference import Reference, is_loopback, parse_reference, place_of
from slipway_runtime.sources import Repository, connect
from tests.support.registry_double import Double, serving
from tests.support.registry_models import TITLE
from tests.support.web_files import closing_clients

from .conftest import Bench

DIGEST = "sha256:" + "a" * 64
WEIGHTS = bytes(range(256)) * 2048
FILES = [
    ("application/vnd.acme.file", b"{}", {TITLE: "config.json"}),
    ("application/vnd.acme.file", WEIGHTS, {TITLE: "model.safetensors"}),
]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cut is taken up at once; clients are closed at the end."""
    monkeypatch.setattr(resuming.bring, "__defaults__", (0.0,))
    with closing_clients(monkeypatch):
        yield


@pytest.fixture
def double() -> Iterator[Double]:
    with serving(Double()) as served:
        served.add_layers("v1", FILES)
        yield served


def repository(bench: Bench, double: Double, tail: str = ":v1", **environment: str) -> Repository:
    return connect(bench.job("fetch", SLIPWAY_SOURCE=f"oci://{double.host}/acme/tiny{tail}", **environment))


def refused(bench: Bench, double: Double, tail: str = ":v1", **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        repository(bench, double, tail, **environment).list_files("main")
    return caught.value


def write_secret(bench: Bench, **keys: str) -> None:
    for key, value in keys.items():
        (bench.folder / key.replace("dockerconfigjson", ".dockerconfigjson")).write_text(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghcr.io/acme/tiny", Reference("ghcr.io", "acme/tiny")),
        ("ghcr.io/acme/tiny:v1", Reference("ghcr.io", "acme/tiny", "v1")),
        ("127.0.0.1:5000/tiny:v1@" + DIGEST, Reference("127.0.0.1:5000", "tiny", "v1", DIGEST)),
        ("[::1]:5000/tiny@" + DIGEST, Reference("[::1]:5000", "tiny", digest=DIGEST)),
        ("docker.io/tiny", Reference("docker.io", "library/tiny")),
    ],
)
def test_names_are_read_as_registries_read_them(text: str, expected: Reference) -> None:
    assert parse_reference(text, "oci://x/y") == expected


@pytest.mark.parametrize(
    "text",
    ["tiny", "ghcr.io/", "ghcr.io/../tiny", "user:pass@ghcr.io/tiny", "ghcr.io/tiny@sha256:abc", "/a/b"],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="REGISTRY/REPOSITORY"):
        parse_reference(text, "oci://x/y")


@pytest.mark.parametrize(
    ("name", "revision", "asked"),
    [
        (Reference("r", "n"), "main", "latest"),
        (Reference("r", "n", "v1"), "main", "v1"),
        (Reference("r", "n", "v1", DIGEST), "main", DIGEST),
        (Reference("r", "n"), "v2", "v2"),
        (Reference("r", "n", "v1"), DIGEST, DIGEST),
    ],
)
def test_a_pin_comes_before_a_digest_a_tag_and_a_revision(name: Reference, revision: str, asked: str) -> None:
    assert name.asked(revision) == asked


@pytest.mark.parametrize("revision", ["v2", "sha256:" + "b" * 64, "a b"])
def test_a_revision_that_contradicts_the_name_is_refused(revision: str) -> None:
    with pytest.raises(RequestError, match=r"once"):
        Reference("r", "n", "v1", DIGEST).asked(revision)


@pytest.mark.parametrize(
    ("registry", "endpoint", "url", "path", "namespace"),
    [
        ("ghcr.io", "", "https://ghcr.io", "acme/tiny", ""),
        ("docker.io", "", "https://registry-1.docker.io", "acme/tiny", ""),
        ("localhost:5000", "", "http://localhost:5000", "acme/tiny", ""),
        ("ghcr.io", "http://mirror:5000", "http://mirror:5000", "acme/tiny", "ghcr.io"),
        ("ghcr.io", "https://mirror/cache", "https://mirror", "cache/acme/tiny", "ghcr.io"),
        ("ghcr.io", "https://mirror/{registry}", "https://mirror", "ghcr.io/acme/tiny", "ghcr.io"),
    ],
)
def test_a_mirror_is_asked_instead(registry: str, endpoint: str, url: str, path: str, namespace: str) -> None:
    place = place_of(Reference(registry, "acme/tiny"), endpoint)
    assert (place.url, place.repository, place.namespace) == (url, path, namespace)


@pytest.mark.parametrize("endpoint", ["mirror", "ftp://mirror", "https://user:word@mirror"])
def test_a_mirror_must_be_a_url_without_password(endpoint: str) -> None:
    with pytest.raises(RequestError, match="no URL of a registry"):
        place_of(Reference("ghcr.io", "acme/tiny"), endpoint)


def test_only_this_machine_is_asked_by_http() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1:5000", "[::1]:5000", "r.localhost:1"]))
    assert not any(map(is_loopback, ["localhost.example.com", "10.0.0.1", "registry:5000"]))


def test_a_tag_is_pinned_by_its_manifests_digest(bench: Bench, double: Double) -> None:
    first = repository(bench, double).list_files("main")
    double.add_layers("v1", FILES[:1])
    again = repository(bench, double).list_files(first.commit)
    assert again == first
    assert repository(bench, double).list_files("main").commit != first.commit


def test_a_cut_download_goes_on_behind_its_last_byte(bench: Bench, double: Double) -> None:
    found = repository(bench, double)
    listing = found.list_files("main")
    file = next(one for one in listing.files if one.path == "model.safetensors")
    double.seen.clear()
    double.cut_after = [100_000, 50_000]
    fetch_one(found, listing.commit, file, bench.store)
    assert (bench.store / "model.safetensors").read_bytes() == WEIGHTS
    assert len(double.asked("GET")) == 3


def test_a_registry_without_ranges_works_too(bench: Bench, double: Double) -> None:
    double.ranges = False
    found = repository(bench, double)
    listing = found.list_files("main")
    file = next(one for one in listing.files if one.path == "model.safetensors")
    assert found.read_range(listing.commit, file, 1000, 300) == WEIGHTS[1000:1300]
    double.cut_after = [100_000]
    fetch_one(found, listing.commit, file, bench.store)
    assert (bench.store / "model.safetensors").read_bytes() == WEIGHTS


def test_a_mirror_is_told_whose_repository_is_meant(bench: Bench, double: Double) -> None:
    job = bench.job("fetch", SLIPWAY_SOURCE="oci://ghcr.io/acme/tiny:v1", SLIPWAY_ENDPOINT_OCI=double.url)
    connect(job).list_files("main")
    assert double.asked("GET") == ["/v2/acme/tiny/manifests/v1?ns=ghcr.io"]


def test_a_password_is_traded_for_a_token_and_goes_nowhere_else(bench: Bench, double: Double) -> None:
    double.user = "reader:pass word"
    write_secret(bench, username="reader", password="pass word")  # noqa: S106 - the test's own
    with serving(Double(blobs=double.blobs)) as storage:
        double.storage = storage.url
        found = repository(bench, double)
        listing = found.list_files("main")
        fetch_one(found, listing.commit, listing.files[0], bench.store)
        assert [authorization for _, _, authorization in storage.seen] == [""]
    sent = [(path.partition("?")[0], word.split(" ")[0]) for _, path, word in double.seen]
    assert sent[:3] == [
        ("/v2/acme/tiny/manifests/v1", ""),
        ("/token", "Basic"),
        ("/v2/acme/tiny/manifests/v1", "Bearer"),
    ]
    assert "scope=repository%3Ax%3Apull" in double.seen[1][1]


def test_a_password_is_sent_to_a_registry_that_wants_it_itself(bench: Bench, double: Double) -> None:
    double.user, double.scheme = "reader:word", "basic"
    write_secret(bench, dockerconfigjson=json.dumps({"auths": {double.host: {"auth": "cmVhZGVyOndvcmQ="}}}))
    assert repository(bench, double).list_files("main").files


def test_an_entry_for_another_registry_is_not_sent(bench: Bench, double: Double) -> None:
    double.user = "reader:word"
    auths = {"ghcr.io": {"username": "reader", "password": "word"}}
    write_secret(bench, dockerconfigjson=json.dumps({"auths": auths}))
    error = refused(bench, double)
    assert (error.reason, error.code) == ("TokenRejected", Exit.NO_PERMISSION)
    assert "no credential for it is known" in error.message
    assert not any(word.startswith("Basic") for _, _, word in double.seen)


def test_no_password_goes_to_a_realm_by_http_on_another_host(bench: Bench, double: Double) -> None:
    double.user, double.realm = "reader:word", "http://elsewhere.example.com/token"
    write_secret(bench, username="reader", password="word")  # noqa: S106 - the test's own
    error = refused(bench, double)
    assert (error.reason, error.code) == ("AccessDenied", Exit.NO_PERMISSION)
    assert "no password is sent there" in error.message
    assert realm_may_know("https://registry-1.docker.io", "https://auth.docker.io/token")
    assert not realm_may_know("https://ghcr.io", "http://ghcr.io/token")


def test_a_wrong_password_says_what_to_put_into_the_secret(bench: Bench, double: Double) -> None:
    double.user = "reader:word"
    write_secret(bench, username="reader", password="wrong")  # noqa: S106 - the test's own
    error = refused(bench, double)
    assert (error.reason, error.code) == ("TokenRejected", Exit.NO_PERMISSION)
    assert "username and password" in error.message
    assert "wrong" not in error.message


def test_a_broken_docker_configuration_is_named(bench: Bench, double: Double) -> None:
    auths = {double.host: {"auth": "no base64!"}, "other.example.com": {"identitytoken": "x"}}
    write_secret(bench, dockerconfigjson=json.dumps({"auths": auths}))
    error = refused(bench, double)
    assert (error.reason, error.code) == ("MissingInput", Exit.CONFIG)
    assert "no base64" not in error.message.replace('"auth" that is no base64', "")


@pytest.mark.parametrize(
    ("status", "body", "reason", "code"),
    [
        (404, '{"errors": [{"code": "NAME_UNKNOWN"}]}', "RepositoryNotFound", Exit.NO_INPUT),
        (404, '{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', "RevisionNotFound", Exit.NO_INPUT),
        (404, "not found", "RevisionNotFound", Exit.NO_INPUT),
        (401, "", "AccessDenied", Exit.NO_PERMISSION),
        (403, '{"errors": [{"code": "DENIED", "message": "no"}]}', "AccessDenied", Exit.NO_PERMISSION),
        (429, "", "HubUnavailable", Exit.TRANSIENT),
        (503, "", "HubUnavailable", Exit.TRANSIENT),
        (400, "[]", "HubRefused", Exit.CONFIG),
        (200, "<html>", "NotAHub", Exit.INTERNAL),
        (200, "{" + " " * MANIFEST_LIMIT + "}", "UnsupportedLayout", Exit.DATA),
    ],
)
def test_answers_become_reasons(
    bench: Bench, double: Double, status: int, body: str, reason: str, code: Exit
) -> None:
    double.refused["GET"] = (status, body)
    error = refused(bench, double)
    assert (error.reason, error.code) == (reason, code)


def test_a_registry_that_is_down_is_tried_again(bench: Bench, double: Double) -> None:
    double.url = "http://127.0.0.1:1"
    assert refused(bench, double).code == Exit.TRANSIENT


def test_a_manifest_that_was_changed_is_refused(bench: Bench, double: Double) -> None:
    pin = repository(bench, double).list_files("main").commit
    double.manifests[pin] = double.manifests["v1"] = (double.manifests["v1"][0], b'{"layers": []}')
    with pytest.raises(StageError) as caught:
        repository(bench, double).list_files(pin)
    assert caught.value.reason == "DigestMismatch"


def test_challenges_of_other_schemes_are_left_alone() -> None:
    assert read_challenge('Negotiate realm="x"') is None
    challenge = read_challenge('Bearer realm="https://a/t",service="a,b",scope="repository:x:pull,push"')
    assert challenge is not None
    assert challenge.parameters["scope"] == "repository:x:pull,push"


def test_a_host_that_is_not_allowed_is_not_asked(bench: Bench, double: Double) -> None:
    error = refused(bench, double, SLIPWAY_ALLOWED_HOSTS="ghcr.io")
    assert error.reason == "HostNotAllowed"
    assert not double.seen


def test_a_registry_by_https_leads_nowhere_by_http(bench: Bench) -> None:
    place = place_of(Reference("ghcr.io", "acme/tiny"), "")
    registry = Registry(bench.job("fetch"), place)
    registry.require_https(httpx2.Request("GET", "https://storage.example.com/blob"))
    with pytest.raises(RequestError, match="by plain http"):
        registry.require_https(httpx2.Request("GET", "http://storage.example.com/blob"))
    assert registry.require_https in registry.client.event_hooks["request"]
