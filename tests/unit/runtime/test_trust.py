"""A company's authority is trusted beside the public ones, and a ConfigMap without it is said."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from slipway_runtime import certificates
from slipway_runtime.errors import RequestError

from .test_certificates import write_certificate


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What trust() sets in this process ends with the test."""
    for name in certificates.VARIABLES:
        monkeypatch.setenv(name, "as it was")
    monkeypatch.setattr(certificates.tempfile, "tempdir", str(tmp_path))


def authorities(path: str) -> int:
    return len(ssl.create_default_context(cafile=path).get_ca_certs())


def test_both_are_trusted(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "own").mkdir()
    public, _ = write_certificate(tmp_path / "public")
    own, _ = write_certificate(tmp_path / "own")
    certificates.trust({"SLIPWAY_CA_FILE": str(own), "SSL_CERT_FILE": str(public)})
    named = {os.environ[name] for name in certificates.VARIABLES}
    assert len(named) == 1
    assert authorities(named.pop()) == 2


def test_without_one_nothing_changes() -> None:
    certificates.trust({})
    assert {os.environ[name] for name in certificates.VARIABLES} == {"as it was"}


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_config_map_without_a_certificate_is_said(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RequestError, match=r"customCA\.configMap has no certificate under ca\.crt"):
        certificates.trust({"SLIPWAY_CA_FILE": str(path)})
