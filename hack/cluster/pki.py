"""Keys, certificates and kubeconfigs of one control plane; called by the control plane and by the node.

Elliptic-curve keys (P-256) signed by a certificate authority made for this one control plane. Everything is
written once: a second call with the same directory changes nothing.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=1095)
SKEW = dt.timedelta(minutes=5)  # a clock that is a little behind must not refuse a new certificate


@dataclass(frozen=True)
class Identity:
    """Whom a certificate names: common name, groups (Kubernetes reads them from the organisation), SANs."""

    name: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as files (PEM)."""

    cert: Path
    key: Path


def pair(directory: Path, name: str) -> Pair:
    """The files of that name, whether or not they exist yet."""
    return Pair(directory / f"{name}.crt", directory / f"{name}.key")


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
    beside.replace(path)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(identity: Identity) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, identity.name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=authority, crl_sign=authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def authority(directory: Path, name: str) -> Pair:
    """Make the certificate authority unless it is there; returns its files."""
    files = pair(directory, name)
    if files.cert.exists():
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(Identity(f"slipway {name}"))
    cert = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(files.key, _pem(key))
    write_private(files.cert, cert.public_bytes(serialization.Encoding.PEM))
    return files


def issue(directory: Path, name: str, signer: Pair, identity: Identity) -> Pair:
    """Make a certificate unless it is there; good for servers (with hosts) and clients; returns its files."""
    files = pair(directory, name)
    if files.cert.exists():
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(signer.cert.read_bytes())
    signing = serialization.load_pem_private_key(signer.key.read_bytes(), password=None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{signer.key} holds no elliptic-curve key: remove {directory} and start again")
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if identity.hosts else [])]
    builder = (
        _builder(_name(identity), issuer.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
    )
    if identity.hosts:
        names = x509.SubjectAlternativeName([_alternative(host) for host in identity.hosts])
        builder = builder.add_extension(names, critical=False)
    write_private(files.key, _pem(key))
    write_private(files.cert, builder.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return files


def token_key(directory: Path) -> Pair:
    """The key pair that signs service account tokens (``.crt`` holds the bare public key)."""
    files = pair(directory, "service-account")
    if not files.cert.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_private(files.key, _pem(key))
        write_private(files.cert, public)
    return files


def expires(cert: Path) -> dt.datetime:
    """When the certificate ends (UTC)."""
    return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc


def kubeconfig(path: Path, server: str, ca: Path, client: Pair, *, name: str = "slipway") -> Path:
    """Write a kubeconfig with everything inside it, so that it can be copied; returns its path."""
    entry = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": _inline(ca)}}
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _inline(client.cert),
                    "client-key-data": _inline(client.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    data = yaml.safe_dump(entry, sort_keys=False).encode()
    if not path.exists() or path.read_bytes() != data:
        write_private(path, data)
    return path


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def issue_all(directory: Path, signer: Pair, identities: Sequence[tuple[str, Identity]]) -> dict[str, Pair]:
    """Issue several certificates by one authority; returns them by file name."""
    return {name: issue(directory, name, signer, identity) for name, identity in identities}
