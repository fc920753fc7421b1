"""The environment's proxy for the API server is read once, and only where it applies."""

from __future__ import annotations

import pytest

from slipway.endpoint import environment_proxy


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("https://api.example.com:6443", "http://proxy.example.com:3128"),
        ("https://10.0.0.1", ""),
        ("https://api.cluster.example.org", ""),
        ("http://127.0.0.1:8001", ""),
    ],
)
def test_proxy_by_scheme_and_exceptions(monkeypatch: pytest.MonkeyPatch, server: str, expected: str) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "10.0.0.1,.example.org")
    assert environment_proxy(server) == expected
