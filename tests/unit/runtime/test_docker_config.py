"""Who logs in where, and what of it no log may show."""

from __future__ import annotations

import base64
import json

import httpx2
import pytest

from slipway_runtime.docker_config import KEY, Credential, find_credential, hidden
from slipway_runtime.registry_login import Login
from slipway_runtime.registry_reference import parse_reference, place_of
from tests.support.registry_double import basic

from .conftest import Bench

AUTH = basic('bot:pa"ss')
TEXT = json.dumps(
    {
        "auths": {
            "ghcr.io": {"username": "reader", "password": "one"},
            "ghcr.io/acme": {"auth": basic("acme:two")},
            "https://index.docker.io/v1/": {"auth": AUTH},
            "old.example.com": {"identitytoken": "idt", "auth": basic("00000:")},
        }
    }
)


@pytest.mark.parametrize(
    ("host", "repository", "expected"),
    [
        ("ghcr.io", "other/tiny", Credential("reader", "one")),
        ("ghcr.io", "acme/tiny", Credential("acme", "two")),
        ("ghcr.io", "acmeville/tiny", Credential("reader", "one")),
        ("registry-1.docker.io", "library/tiny", Credential("bot", 'pa"ss')),
        ("GHCR.io", "acme/tiny", Credential("acme", "two")),
        ("ghcr.io:443", "acme/tiny", None),
        ("evil.example.com", "ghcr.io/acme", None),
    ],
)
def test_an_entry_is_for_its_host_alone(host: str, repository: str, expected: Credential | None) -> None:
    assert find_credential(TEXT, host, repository) == expected


@pytest.mark.parametrize(
    ("repository", "expected"), [("acme/x", Credential("u", "p")), ("acme/open/x", None), ("other/x", None)]
)
def test_an_empty_entry_is_for_nobody_and_spoils_no_other(
    repository: str, expected: Credential | None
) -> None:
    entries = {"ghcr.io": {}, "ghcr.io/acme": {"auth": basic("u:p")}, "ghcr.io/acme/open": {"auth": ""}}
    assert find_credential(json.dumps({"auths": entries}), "ghcr.io", repository) == expected


@pytest.mark.parametrize("name", ["ghcr.io", "ghcr.io:443", "GHCR.io"])
@pytest.mark.parametrize("mirror", ["", "https://Mirror.example.com:443"])
def test_a_registry_is_known_by_its_origin(name: str, mirror: str) -> None:
    place = place_of(parse_reference(f"{name}/a/b", "x"), mirror)
    login = Login(place, Credential("u", "p"))
    ours = httpx2.Request("GET", f"{place.url}/v2/")
    request = next(login.flow(ours))
    assert login._is_ours(request)
    for other in ("https://ghcr.io:444/v2/", "http://ghcr.io/v2/", "https://evil.example.com/v2/"):
        assert not login._is_ours(httpx2.Request("GET", other))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"auths": []}', '{"auths": {"x": 1}}', '{"auths": {"ghcr.io": {"auth": "eA=="}}}'],
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it has|an entry has|Expecting"):
        find_credential(text, "ghcr.io", "x")


def test_every_secret_in_it_is_hidden() -> None:
    found = hidden(TEXT)
    assert {"one", "two", 'pa"ss', "idt", AUTH, basic("reader:one"), TEXT} <= found
    assert "" not in found
    assert hidden("no json") == {"no json"}


def test_no_log_and_no_result_shows_a_password(bench: Bench) -> None:
    (bench.folder / KEY).write_text(json.dumps({"auths": {"r.example": {"auth": basic("user:s3cret-word")}}}))
    (bench.folder / "username").write_text("s3cret-name")
    (bench.folder / "password").write_text("s3cret-key")
    words = ["s3cret-word", "s3cret-key", basic("s3cret-name:s3cret-key"), basic("user:s3cret-word")]
    code, result, log = bench.run("inspect", SLIPWAY_SOURCE=f"oci://{' '.join(words)}")
    assert code == 78
    said = json.dumps(result) + log
    assert "[redacted]" in said
    assert not [word for word in words if word in said]
    assert base64.b64encode(b"s3cret-name").decode() not in said
