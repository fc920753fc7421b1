"""Certificates: who signs whom, for what, and who may read the keys."""

from __future__ import annotations

import datetime as dt
import ipaddress
import stat
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from hack.cluster import pki


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_is_signed_by_its_authority_and_names_whom_it_should(tmp_path: Path) -> None:
    ca = pki.authority(tmp_path, "ca")
    identity = pki.Identity("system:node:n", ("system:nodes",), ("198.18.0.1", "slipway"))
    cert = load(pki.issue(tmp_path, "kubelet", ca, identity).cert)
    cert.verify_directly_issued_by(load(ca.cert))
    assert cert.subject.rfc4514_string() == "CN=system:node:n,O=system:nodes"
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("198.18.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["slipway"]


def test_a_client_is_no_server_and_no_authority(tmp_path: Path) -> None:
    cert = load(pki.issue(tmp_path, "admin", pki.authority(tmp_path, "ca"), pki.Identity("admin")).cert)
    uses = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_only_the_owner_reads_keys(tmp_path: Path) -> None:
    ca = pki.authority(tmp_path, "ca")
    pair = pki.issue(tmp_path, "admin", ca, pki.Identity("admin"))
    config = pki.kubeconfig(tmp_path / "kubeconfig", "https://198.18.0.1:6443", ca.cert, pair)
    for path in (ca.key, pair.key, pki.token_key(tmp_path).key, config):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_second_call_changes_nothing(tmp_path: Path) -> None:
    def everything() -> dict[str, bytes]:
        ca = pki.authority(tmp_path, "ca")
        pair = pki.issue(tmp_path, "admin", ca, pki.Identity("admin"))
        pki.token_key(tmp_path)
        pki.kubeconfig(tmp_path / "kubeconfig", "https://x", ca.cert, pair)
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert everything() == everything()


def test_certificates_are_valid_now_and_for_years(tmp_path: Path) -> None:
    ca = pki.authority(tmp_path, "ca")
    now = dt.datetime.now(dt.UTC)
    assert load(ca.cert).not_valid_before_utc < now
    assert pki.expires(ca.cert) - now > dt.timedelta(days=365)


def test_a_kubeconfig_holds_everything_itself(tmp_path: Path) -> None:
    ca = pki.authority(tmp_path, "ca")
    pair = pki.issue(tmp_path, "admin", ca, pki.Identity("admin"))
    config = yaml.safe_load(pki.kubeconfig(tmp_path / "k", "https://x:6443", ca.cert, pair).read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://x:6443"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
