"""Who logs in where, and what of it no log may show."""

from __future__ import annotations

import base64
import json

import pytest

from slipway_runtime.docker_config import KEY, Credential, find_credential, hidden
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
        ("ghcr.io:443", "acme/tiny", None),
        ("evil.example.com", "ghcr.io/acme", None),
    ],
)
def test_an_entry_is_for_its_host_alone(host: str, repository: str, expected: Credential | None) -> None:
    assert find_credential(TEXT, host, repository) == expected


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
