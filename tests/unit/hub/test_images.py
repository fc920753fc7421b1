"""Building images: archives that containerd can read, and machine settings that no image keeps."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from hack.images import build
from hack.images.archive import CONTAINERD_NAME, REF_NAME, write_archive
from hack.images.settings import Settings, write_secrets

if TYPE_CHECKING:
    from pathlib import Path

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the program zstd")
NAME = "docker.io/slipway/operator:0.1.0"


def add_blob(layout: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    blob = layout / "blobs" / "sha256" / digest
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    return f"sha256:{digest}"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI layout with one image of two layers, as skopeo writes it."""
    folder = tmp_path / "layout"
    layers = [add_blob(folder, content) for content in (b"first layer" * 1000, b"second layer" * 1000)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "config", "digest": add_blob(folder, b"{}"), "size": 2},
        "layers": [{"mediaType": "tar", "digest": digest, "size": 1} for digest in layers],
    }
    entry = {
        "digest": add_blob(folder, json.dumps(manifest).encode()),
        "annotations": {REF_NAME: "operator-1"},
    }
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))
    return folder


@needs_zstd
def test_an_archive_holds_what_its_manifest_names(layout: Path, tmp_path: Path) -> None:
    target = tmp_path / "operator.tar"
    digest = write_archive(layout, "operator-1", NAME, target)
    with tarfile.open(target) as tar:
        blobs = {f"sha256:{name.rpartition('/')[2]}": name for name in tar.getnames() if "blobs/" in name}
        content = {key: tar.extractfile(name).read() for key, name in blobs.items()}  # type: ignore[union-attr]
        entry = json.load(tar.extractfile("index.json"))["manifests"][0]  # type: ignore[arg-type]
    assert entry["digest"] == digest
    assert entry["annotations"] == {REF_NAME: "0.1.0", CONTAINERD_NAME: NAME}
    for key, data in content.items():
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == key
    manifest = json.loads(content[digest])
    assert manifest["config"]["digest"] in content
    unpacked = [
        subprocess.run(
            ["zstd", "-dc"], input=content[layer["digest"]], capture_output=True, check=True
        ).stdout
        for layer in manifest["layers"]
    ]
    assert unpacked == [b"first layer" * 1000, b"second layer" * 1000]
    assert [layer["size"] for layer in manifest["layers"]] == [
        len(content[layer["digest"]]) for layer in manifest["layers"]
    ]


@needs_zstd
def test_a_layer_is_packed_once(layout: Path, tmp_path: Path) -> None:
    first = write_archive(layout, "operator-1", NAME, tmp_path / "one.tar")
    packed = {path: path.stat().st_mtime_ns for path in (tmp_path / "packed").iterdir()}
    second = write_archive(layout, "operator-1", NAME, tmp_path / "two.tar")
    assert first == second
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "packed").iterdir()} == packed


def test_secrets_name_the_mounted_certificates_not_the_machines(tmp_path: Path) -> None:
    bundle = tmp_path / "machine-ca.crt"
    bundle.write_text("certificate")
    settings = Settings(
        mirror="http://mirror.example/debian/",
        apt=('Acquire::Retries "3";', 'Acquire::https::CAInfo "/home/me/ca.crt";'),
        pip=(("index-url", "https://index.example/simple"),),
        ca=bundle,
        apt_auth="machine mirror.example login me password secret\n",
    )
    folder = tmp_path / "secrets"
    folder.mkdir()
    secrets = write_secrets(settings, folder, "forky")
    texts = {name: path.read_text() for name, path in secrets.items()}
    assert texts["apt.list"] == "deb http://mirror.example/debian/ forky main\n"
    assert 'Acquire::Retries "3";' in texts["apt.conf"]
    assert "/home/me" not in texts["apt.conf"]
    assert 'Acquire::https::CAInfo "/run/secrets/ca.crt";' in texts["apt.conf"]
    assert "cert = /run/secrets/ca.crt" in texts["pip.conf"]
    assert "index-url = https://index.example/simple" in texts["pip.conf"]
    assert "password secret" not in texts["apt.conf"]


def test_without_settings_the_images_own_sources_stay(tmp_path: Path) -> None:
    secrets = write_secrets(Settings(None, (), (), None, ""), tmp_path, "forky")
    assert set(secrets) == {"apt.conf", "pip.conf"}
    assert secrets["apt.conf"].read_text() == ""


def test_every_target_of_the_build_is_a_stage_of_the_dockerfile() -> None:
    stages = {
        line.split()[-1]
        for line in (build.ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("FROM ")
    }
    assert set(build.INPUTS) <= stages
    for inputs in build.INPUTS.values():
        assert all((build.ROOT / name).exists() for name in inputs)
