"""What was pushed is copied whole where nodes mount no images, and nothing damaged is pushed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime import files
from tests.support.registry_double import Double, serving
from tests.support.registry_models import IMAGE_LAYER, large, publish_folder, tar_of
from tests.support.web_files import closing_clients

from .conftest import Bench

GGUF = {"model.gguf": large(1), "chat_template.jinja": b"{{ messages }}"}
FOLDER = {
    "config.json": b"{}",
    "model.safetensors": large(2),
    "modeling_x.py": b"pass",
    "recipe.yaml": b"x",
    "1_Pooling/config.json": b"{}",
    "special.bin": b"y",
}
DEEP = {"sub/model.gguf": large(3), "notes.txt": b"n"}
"""Its model is not at the root, where a source's would be looked for."""
TAG = "a1"


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    with closing_clients(monkeypatch), serving(Double()) as served:
        yield served


def pushed(bench: Bench, double: Double) -> tuple[str, str]:
    """Push what the store has; returns image and digest, and empties the store."""
    code, result, log = bench.run("push", SLIPWAY_PUSH_TO=f"oci://{double.host}/acme/tiny:{TAG}")
    assert code == 0, log
    digest = f"sha256:{files.sha256_of(bench.store / 'published' / 'manifest.json')}"
    (bench.store / "published").rename(bench.folder / "pushed")
    return str(result["image"]), digest


def copy(bench: Bench, image: str, digest: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    source = {"SLIPWAY_SOURCE": f"oci://{image}", "SLIPWAY_REVISION": image.partition("@")[2]}
    return bench.run("fetch", **source, SLIPWAY_COPY="true", SLIPWAY_DIGEST=digest, **environment)


@pytest.mark.parametrize("contents", [GGUF, FOLDER, DEEP])
def test_every_file_is_copied_and_the_digest_stays(
    bench: Bench, double: Double, contents: dict[str, bytes]
) -> None:
    publish_folder(bench.store / "published", contents)
    image, digest = pushed(bench, double)
    code, result, log = copy(bench, image, digest)
    assert code == 0, log
    assert (result["digest"], result["files"]) == (digest, len(contents))
    for name in (*contents, "manifest.json"):
        assert (bench.store / "published" / name).read_bytes() == (
            bench.folder / "pushed" / name
        ).read_bytes()
    code, result, log = copy(bench, image, digest)
    assert (code, result.get("resumed")) == (0, True), log


def test_a_copy_asks_the_registry_and_no_mirror(bench: Bench, double: Double) -> None:
    publish_folder(bench.store / "published", GGUF)
    image, digest = pushed(bench, double)
    named = image.replace(double.host, "registry.example.com")
    code, _, log = copy(
        bench,
        named,
        digest,
        SLIPWAY_ENDPOINT_OCI="http://127.0.0.1:9/mirror",
        SLIPWAY_ENDPOINT_PUSH=double.url,
    )
    assert code == 0, log
    assert not [path for _, path, _ in double.seen if "ns=" in path]


def test_an_image_of_another_artifact_is_not_copied(bench: Bench, double: Double) -> None:
    publish_folder(bench.store / "published", GGUF)
    image, _ = pushed(bench, double)
    _, result, _ = copy(bench, image, f"sha256:{'0' * 64}")
    assert result["reason"] == "DigestMismatch"
    assert not (bench.store / "published").exists()


@pytest.mark.parametrize("size", [1, 2])
def test_files_are_held_against_the_manifest(bench: Bench, double: Double, size: int) -> None:
    promised = [{"path": "model.gguf", "bytes": size, "sha256": "0" * 64}]
    manifest = json.dumps({"files": promised, "stage": "quantize", "recipe": {}}).encode()
    tar = tar_of({"model.gguf": b"x", "manifest.json": manifest})
    image = f"{double.host}/acme/tiny@{double.add_layers('v1', [(IMAGE_LAYER, tar, {})])}"
    path = bench.folder / "manifest.json"
    path.write_bytes(manifest)
    _, result, _ = copy(bench, image, f"sha256:{files.sha256_of(path)}")
    assert result["reason"] == "DigestMismatch"
    assert not (bench.store / "published").exists()


def test_an_image_of_something_else_is_not_copied(bench: Bench, double: Double) -> None:
    layer = (IMAGE_LAYER, tar_of({"model.gguf": b"x"}), {})
    image = f"{double.host}/acme/tiny@{double.add_layers('v1', [layer])}"
    _, result, _ = copy(bench, image, f"sha256:{'0' * 64}")
    assert result["reason"] == "UnsupportedLayout"


def _flip(path: Path) -> None:
    path.write_bytes(b"\xff" + path.read_bytes()[1:])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _lose(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [_flip, _cut, _lengthen, _lose])
def test_what_differs_from_its_manifest_is_not_pushed(bench: Bench, double: Double, damage: Any) -> None:
    damage(publish_folder(bench.store / "published", GGUF) / "model.gguf")
    code, result, _ = bench.run("push", SLIPWAY_PUSH_TO=f"oci://{double.host}/acme/tiny:{TAG}")
    assert (code, result["reason"]) == (65, "DigestMismatch")
    assert TAG not in double.manifests


@pytest.mark.parametrize("status", [401, 403])
def test_a_tag_that_is_hidden_may_be_absent_and_the_upload_decides(
    bench: Bench, double: Double, status: int
) -> None:
    target = f"oci://{double.host}/acme/tiny:{TAG}"
    double.refused["GET"] = (status, "DENIED")
    code, result, log = bench.run("recall", SLIPWAY_PUSH_TO=target)
    assert (code, result["found"]) == (0, False), log
    publish_folder(bench.store / "published", GGUF)
    code, result, log = bench.run("push", SLIPWAY_PUSH_TO=target)
    assert code == 0, log
    double.refused["POST"] = (403, "DENIED")
    double.blobs.clear()
    _, result, _ = bench.run("push", SLIPWAY_PUSH_TO=target)
    assert result["reason"] == "PushRefused"


def test_a_wrong_password_is_no_absent_tag(bench: Bench, double: Double) -> None:
    double.user, double.scheme = "acme:right", "basic"
    for key, value in (("username", "acme"), ("password", "wrong-one")):
        (bench.folder / key).write_text(value)
    _, result, _ = bench.run("recall", SLIPWAY_PUSH_TO=f"oci://{double.host}/acme/tiny:{TAG}")
    assert result["reason"] == "TokenRejected"
