"""The distribution project's registry: pushes and pulls, logins, cuts, damage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from slipway_runtime import registry_upload, resuming
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch_all
from slipway_runtime.oci_image import BIG
from slipway_runtime.registry import Registry
from slipway_runtime.registry_reference import parse_reference, place_of
from slipway_runtime.registry_upload import Blob, Upload
from slipway_runtime.sources import Listing, connect
from slipway_runtime.sources.oci import OciRepository
from slipway_runtime.stores.oci import push
from tests.support.registry_double import digest_of
from tests.support.registry_models import DOCKER, GGUF, OLLAMA_LAYERS, TITLE, large, publish_folder
from tests.support.registry_server import PASSWORD, USER, RegistryServer, registry_server
from tests.support.web_files import closing_clients
from tests.unit.runtime.conftest import CONFIG, Bench, bench, build_safetensors

__all__ = ["bench"]
WEIGHTS = build_safetensors({"embed": ("BF16", [1024, 2048], bytes(range(256)) * (16 << 10))})
MODEL = {"config.json": json.dumps(CONFIG).encode(), "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Parts of 1 MiB, so that small files have several; cuts are taken up at once."""
    monkeypatch.setattr(Upload.__init__, "__defaults__", (BIG, 0.0))
    monkeypatch.setattr(resuming.bring, "__defaults__", (0.0,))
    with closing_clients(monkeypatch):
        yield


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    with registry_server(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish_folder(tmp_path / "published", MODEL)


def pushed(bench: Bench, server: RegistryServer, folder: Path) -> dict[str, Any]:
    return push(bench.job("publish"), folder, f"{server.host}/acme/tiny:v1", {})


def connected(bench: Bench, server: RegistryServer, tail: str = ":v1") -> OciRepository:
    found = connect(bench.job("fetch", SLIPWAY_SOURCE=f"oci://{server.host}/acme/tiny{tail}"))
    assert isinstance(found, OciRepository)
    return found


def brought(bench: Bench, found: OciRepository, revision: str = "main") -> tuple[Listing, dict[str, bytes]]:
    """Bring everything into the store, as fetch does."""
    listing = found.list_files(revision)
    files = list(listing.files)
    fetch_all(found, listing.commit, files, bench.store)
    found.verify({file.path: bench.store / file.path for file in files if file.sealed})
    return listing, {file.path: (bench.store / file.path).read_bytes() for file in files}


def refused(bench: Bench, server: RegistryServer, tail: str = ":v1") -> StageError:
    with pytest.raises(StageError) as caught:
        connected(bench, server, tail).list_files("main")
    return caught.value


def put_manifest(bench: Bench, server: RegistryServer, document: dict[str, Any], *contents: bytes) -> None:
    """Push blobs and a manifest as other tools do."""
    reference = parse_reference(f"{server.host}/acme/tiny:v1", "")
    upload = Upload(Registry(bench.job("publish"), place_of(reference, "")))
    for content in (b"{}", *contents):
        upload.put_blob(
            Blob(digest_of(content), len(content), lambda start, end, all_=content: iter((all_[start:end],)))
        )
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}
    whole = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
    } | document
    upload.put_manifest("v1", whole["mediaType"], json.dumps(whole).encode())


def test_what_was_pushed_comes_back_with_equal_bytes_and_the_same_digest_twice(
    bench: Bench, server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    first = pushed(bench, server, folder)
    listing, contents = brought(bench, connected(bench, server))
    assert contents == MODEL | {"manifest.json": (folder / "manifest.json").read_bytes()}
    assert first["image"].endswith(listing.commit)
    again = pushed(bench, server, publish_folder(tmp_path / "again", MODEL))
    assert again == first | {"pushedBytes": 0}
    with registry_server(tmp_path / "another") as another:
        elsewhere = pushed(bench, another, folder)
        assert elsewhere["image"].partition("@")[2] == listing.commit
        assert elsewhere["pushedBytes"] == first["pushedBytes"] > len(WEIGHTS)


def test_a_fetch_job_takes_what_a_publish_job_pushed(bench: Bench, server: RegistryServer) -> None:
    publish_folder(bench.store / "published", MODEL)
    code, result, log = bench.run("push", SLIPWAY_PUSH_TO=f"oci://{server.host}/acme/tiny")
    assert code == 0, log
    source, pin = f"oci://{result['image']}", result["image"].partition("@")[2]
    code, inspected, log = bench.run("inspect", SLIPWAY_SOURCE=source)
    assert (code, inspected["commit"]) == (0, pin), log
    environment = {
        "SLIPWAY_SOURCE": source,
        "SLIPWAY_REVISION": pin,
        "SLIPWAY_STORE": str(bench.folder / "other"),
    }
    (bench.folder / "other").mkdir()
    code, result, log = bench.run("fetch", **environment)
    assert (code, result["files"]) == (0, 3), log
    assert (bench.folder / "other" / "published" / "model.safetensors").read_bytes() == WEIGHTS


def test_only_what_is_missing_is_asked_for(bench: Bench, server: RegistryServer, folder: Path) -> None:
    pushed(bench, server, folder)
    half = len(WEIGHTS) // 2
    (bench.store / "model.safetensors.part").write_bytes(WEIGHTS[:half])
    before = len(server.sent())
    _, contents = brought(bench, connected(bench, server))
    assert contents["model.safetensors"] == WEIGHTS
    parts = [size for method, _, status, size in server.sent()[before:] if (method, status) == ("GET", 206)]
    assert max(parts) == len(WEIGHTS) - half


def test_a_cut_upload_goes_on(
    bench: Bench, server: RegistryServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = [BIG // 2, 100_000]
    whole = registry_upload._Body.__iter__

    def cutting(self: registry_upload._Body) -> Iterator[bytes]:
        left = cuts.pop(0) if cuts and self.start >= BIG else len(WEIGHTS) * 2
        for block in whole(self):
            yield block[:left]
            left -= len(block)
            if left <= 0:
                raise httpx2.ReadError("the line was cut")

    monkeypatch.setattr(registry_upload._Body, "__iter__", cutting)
    pushed(bench, server, folder)
    monkeypatch.undo()
    _, contents = brought(bench, connected(bench, server))
    assert contents["model.safetensors"] == WEIGHTS
    assert not cuts
    begun = [path for method, path, _, _ in server.sent() if method == "POST"]
    assert len(begun) == 4  # two layers, two configurations: none was begun anew


def test_a_large_file_is_shared_with_the_next_artifact(
    bench: Bench, server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    pushed(bench, server, folder)
    other = publish_folder(tmp_path / "other", MODEL | {"tokenizer.json": b'{"other": 1}'})
    result = push(bench.job("publish"), other, f"{server.host}/acme/tiny:v2", {})
    assert 0 < result["pushedBytes"] < BIG


@pytest.mark.parametrize("who", ["nobody", "wrong", "right", "docker", "elsewhere"])
def test_a_registry_with_a_login(bench: Bench, folder: Path, tmp_path: Path, who: str) -> None:
    with registry_server(tmp_path / "registry", login=True) as server:
        auths = {server.host if who == "docker" else "ghcr.io": {"username": USER, "password": PASSWORD}}
        keys = {
            "wrong": {"username": USER, "password": "wr0ng"},
            "right": {"username": USER, "password": PASSWORD},
            "docker": {".dockerconfigjson": json.dumps({"auths": auths})},
            "elsewhere": {".dockerconfigjson": json.dumps({"auths": auths})},
        }.get(who, {})
        for key, value in keys.items():
            (bench.folder / key).write_text(value)
        if who in {"right", "docker"}:
            pushed(bench, server, folder)
            assert brought(bench, connected(bench, server))[1]["model.safetensors"] == WEIGHTS
            return
        error = refused(bench, server)
        assert error.code == Exit.NO_PERMISSION
        assert error.reason == ("TokenRejected" if who == "wrong" else "AccessDenied")
        assert "username and password" in error.message
        with pytest.raises(StageError) as caught:
            pushed(bench, server, folder)
        assert caught.value.code == Exit.NO_PERMISSION
        code, result, log = bench.run("inspect", SLIPWAY_SOURCE=f"oci://{server.host}/acme/tiny")
        assert code == Exit.NO_PERMISSION
        assert not [word for word in (PASSWORD, "wr0ng") if word in json.dumps(result) + log]


def test_an_unknown_repository_and_an_unknown_tag_are_told_apart_from_damage(
    bench: Bench, server: RegistryServer, folder: Path
) -> None:
    assert refused(bench, server).code == Exit.NO_INPUT
    pushed(bench, server, folder)
    error = refused(bench, server, ":v2")
    assert (error.reason, error.code) == ("RevisionNotFound", Exit.NO_INPUT)
    error = refused(bench, server, "@sha256:" + "a" * 64)
    assert (error.reason, error.code) == ("RevisionNotFound", Exit.NO_INPUT)


@pytest.mark.parametrize("layout", ["tar", "file"])
def test_a_blob_that_was_damaged_on_the_registrys_disk_is_refused(
    bench: Bench, server: RegistryServer, folder: Path, layout: str
) -> None:
    if layout == "tar":
        pushed(bench, server, folder)
        found = connected(bench, server)
        found.list_files("main")
        digest = found._members["model.safetensors"].digest
    else:
        digest = digest_of(WEIGHTS)
        titles = {digest_of(MODEL["config.json"]): "config.json", digest: "model.safetensors"}
        contents = [MODEL["config.json"], WEIGHTS]
        layers = [
            {
                "mediaType": "application/octet-stream",
                "digest": digest_of(content),
                "size": len(content),
                "annotations": {TITLE: titles[digest_of(content)]},
            }
            for content in contents
        ]
        put_manifest(bench, server, {"layers": layers}, *contents)
        assert brought(bench, connected(bench, server))[1]["model.safetensors"] == WEIGHTS
        (bench.store / "model.safetensors").unlink()
    with server.blob(digest).open("r+b") as blob:
        blob.seek(len(WEIGHTS) // 2)
        blob.write(b"\xff" * 1024)
    with pytest.raises(StageError) as caught:
        brought(bench, connected(bench, server))
    assert (caught.value.reason, caught.value.code) == ("DigestMismatch", Exit.DATA)
    assert not (bench.store / "model.safetensors").exists()


def test_a_title_that_leads_outside_is_refused(bench: Bench, server: RegistryServer) -> None:
    layer = {"mediaType": "application/x", "digest": digest_of(b"evil"), "size": 4}
    put_manifest(bench, server, {"layers": [layer | {"annotations": {TITLE: "../../evil"}}]}, b"evil")
    error = refused(bench, server)
    assert (error.reason, error.code) == ("UnsafePath", Exit.DATA)


def test_a_read_only_registry_says_so(bench: Bench, folder: Path, tmp_path: Path) -> None:
    with registry_server(tmp_path / "registry", read_only=True) as server:
        with pytest.raises(StageError) as caught:
            pushed(bench, server, folder)
        assert (caught.value.reason, caught.value.code) == ("PushRefused", Exit.NO_PERMISSION)
        assert "read-only" in caught.value.message


def test_a_model_as_ollama_keeps_it(bench: Bench, server: RegistryServer) -> None:
    contents = [content for _, content, _ in OLLAMA_LAYERS]
    layers = [
        {"mediaType": kind, "digest": digest_of(one), "size": len(one)} for kind, one, _ in OLLAMA_LAYERS
    ]
    config = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "digest": digest_of(b"{}"),
        "size": 2,
    }
    put_manifest(bench, server, {"mediaType": DOCKER, "config": config, "layers": layers}, *contents)
    found = connect(bench.job("fetch", SLIPWAY_SOURCE=f"ollama://{server.host}/acme/tiny:v1"))
    listing = found.list_files("main")
    assert found.list_files(listing.commit) == listing
    fetch_all(found, listing.commit, list(listing.files), bench.store)
    assert (bench.store / "model.gguf").read_bytes() == GGUF
    error = refused_ollama(bench, server)
    assert (error.reason, error.code) == ("RevisionNotFound", Exit.NO_INPUT)


def refused_ollama(bench: Bench, server: RegistryServer) -> StageError:
    with pytest.raises(StageError) as caught:
        connect(bench.job("fetch", SLIPWAY_SOURCE=f"ollama://{server.host}/acme/tiny:v9")).list_files("main")
    return caught.value


def test_two_artifacts_of_one_tag_are_two_images(
    bench: Bench, server: RegistryServer, folder: Path, tmp_path: Path
) -> None:
    first = pushed(bench, server, folder)["image"]
    other = publish_folder(tmp_path / "other", {"model.gguf": large(3)})
    second = pushed(bench, server, other)["image"]
    assert first != second
    pin = first.partition("@")[2]
    assert brought(bench, connected(bench, server), pin)[1]["model.safetensors"] == WEIGHTS
