"""Models as registries keep them: layers that are files, tars, images; what can't be read is refused."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_runtime import resuming, tar_index
from slipway_runtime.contract import Exit
from slipway_runtime.errors import DataError, StageError
from slipway_runtime.fetch import fetch_all
from slipway_runtime.files import sha256_of
from slipway_runtime.oci_layout import Kind, Member, choose_manifest, read_layers
from slipway_runtime.sources import Listing, connect
from slipway_runtime.sources.oci import OciRepository
from slipway_runtime.tar_index import overlay, read_members
from tests.support.registry_double import Double, digest_of, serving
from tests.support.registry_models import FILEPATH, IMAGE_LAYER, TITLE, tar_of
from tests.support.web_files import closing_clients

from .conftest import CONFIG, Bench, build_safetensors

MODELPACK = "application/vnd.cncf.model"
WEIGHTS = build_safetensors({"embed": ("BF16", [128, 64], b"\1\2" * 128 * 64)})
MODEL = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": WEIGHTS}
LICENSED = {"descriptor": {"licenses": ["apache-2.0"]}}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resuming.bring, "__defaults__", (0.0,))
    with closing_clients(monkeypatch):
        yield


@pytest.fixture
def double() -> Iterator[Double]:
    with serving(Double()) as served:
        yield served


def repository(bench: Bench, double: Double) -> OciRepository:
    found = connect(bench.job("fetch", SLIPWAY_SOURCE=f"oci://{double.host}/acme/tiny:v1"))
    assert isinstance(found, OciRepository)
    return found


def brought(bench: Bench, double: Double) -> tuple[Listing, dict[str, bytes]]:
    """Bring everything that is listed, as fetch does; returns the listing and the contents by path."""
    found = repository(bench, double)
    listing = found.list_files("main")
    files = list(listing.files)
    fetch_all(found, listing.commit, files, bench.store)
    found.verify({file.path: bench.store / file.path for file in files if file.sealed})
    return listing, {file.path: (bench.store / file.path).read_bytes() for file in files}


def layers_of(layout: str) -> list[tuple[str, bytes, dict[str, str]]]:
    config, weights = MODEL["config.json"], MODEL["model.safetensors"]
    return {
        "oras": [
            (IMAGE_LAYER, config, {TITLE: "config.json"}),
            ("application/octet-stream", weights, {TITLE: "model.safetensors"}),
        ],
        "modelpack": [
            (f"{MODELPACK}.weight.config.v1.raw", config, {FILEPATH: "config.json"}),
            (f"{MODELPACK}.weight.v1.raw", weights, {FILEPATH: "model.safetensors"}),
        ],
        "modelpack-tar": [
            (f"{MODELPACK}.weight.config.v1.tar", tar_of({"config.json": config}), {FILEPATH: "config.json"}),
            (f"{MODELPACK}.weight.v1.tar", tar_of({"model.safetensors": weights}), {FILEPATH: "x"}),
        ],
        "docker": [
            ("application/vnd.docker.ai.model.file", config, {FILEPATH: "config.json"}),
            ("application/vnd.docker.ai.safetensors", weights, {FILEPATH: "model.safetensors"}),
        ],
        "oras-folder": [
            (IMAGE_LAYER, tar_of({"tiny/": b"", **{f"tiny/{name}": one for name, one in MODEL.items()}}),
             {TITLE: "tiny", "io.deis.oras.content.unpack": "true"}),
        ],
        "modelcar": [
            (IMAGE_LAYER, tar_of({"etc/": b"", "etc/passwd": b"root"}), {}),
            (IMAGE_LAYER, tar_of({"models/": b"", "./models/config.json": b"{}", "models/old": b""}), {}),
            ("application/vnd.docker.image.rootfs.diff.tar",
             tar_of({f"models/{name}": one for name, one in MODEL.items()} | {"models/.wh.old": b""}), {}),
        ],
    }[layout]  # fmt: skip


@pytest.mark.parametrize(
    "layout", ["oras", "modelpack", "modelpack-tar", "docker", "oras-folder", "modelcar"]
)
def test_every_layout_gives_the_same_files(bench: Bench, double: Double, layout: str) -> None:
    digest = double.add_layers("v1", layers_of(layout))
    listing, contents = brought(bench, double)
    assert listing.commit == digest
    assert contents == MODEL


def test_a_fetch_job_takes_a_model_from_a_registry(bench: Bench, double: Double) -> None:
    pin = double.add_layers(
        "v1", layers_of("modelcar"), annotations={"org.opencontainers.image.licenses": "MIT"}
    )
    source = f"oci://{double.host}/acme/tiny:v1"
    code, result, log = bench.run("inspect", SLIPWAY_SOURCE=source)
    assert code == 0, log
    assert (result["commit"], result["facts"]["license"]) == (pin, "MIT")
    double.add_layers("v1", layers_of("oras"))
    code, result, log = bench.run("fetch", SLIPWAY_SOURCE=source, SLIPWAY_REVISION=pin)
    assert code == 0, log
    assert result["files"] == 2
    assert (bench.store / "published" / "model.safetensors").read_bytes() == WEIGHTS
    assert "verified" in log


def test_weights_are_jumped_over_when_a_tar_is_listed(bench: Bench, double: Double) -> None:
    big = {"config.json": b"{}", "model-1.safetensors": bytes(3 << 20), "model-2.safetensors": bytes(3 << 20)}
    double.add_layers("v1", [(IMAGE_LAYER, tar_of(big, tarfile.PAX_FORMAT), {})])
    listing = repository(bench, double).list_files("main")
    assert {file.path: file.size for file in listing.files} == {name: len(one) for name, one in big.items()}
    assert len(double.asked("GET")) <= 5


def test_a_cut_download_out_of_a_tar_goes_on(bench: Bench, double: Double) -> None:
    double.add_layers("v1", layers_of("oras-folder"))
    found = repository(bench, double)
    listing = found.list_files("main")
    double.cut_after = [3000, 2000]
    fetch_all(found, listing.commit, list(listing.files), bench.store)
    assert sha256_of(bench.store / "model.safetensors") == digest_of(WEIGHTS).removeprefix("sha256:")


def test_a_tar_with_other_bytes_than_its_digest_is_refused(bench: Bench, double: Double) -> None:
    double.add_layers("v1", layers_of("oras-folder"))
    digest, content = next((key, one) for key, one in double.blobs.items() if WEIGHTS in one)
    double.blobs[digest] = content.replace(b"\1\2\1\2", b"\1\2\1\3", 1)
    with pytest.raises(StageError) as caught:
        brought(bench, double)
    assert (caught.value.reason, caught.value.code) == ("DigestMismatch", Exit.DATA)
    assert not (bench.store / "model.safetensors").exists()


@pytest.mark.parametrize("path", ["../../etc/cron.d/evil", "/etc/passwd", "a/../../b", "C:/x", "..\\x"])
@pytest.mark.parametrize("kind", ["title", "tar"])
def test_paths_that_lead_outside_are_refused(bench: Bench, double: Double, path: str, kind: str) -> None:
    evil = (
        ("application/x", b"evil", {TITLE: path})
        if kind == "title"
        else (IMAGE_LAYER, tar_of({path: b"e"}), {})
    )
    double.add_layers("v1", [*layers_of("oras"), evil])
    with pytest.raises(StageError) as caught:
        brought(bench, double)
    assert (caught.value.reason, caught.value.code) == ("UnsafePath", Exit.DATA)
    assert not list(bench.store.iterdir())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([(IMAGE_LAYER, tar_of({"bin/sh": b"#!"}), {})], "no model among its 1 files"),
        ([("application/vnd.oci.image.layer.v1.tar+gzip", b"x", {})], "gzip-compressed"),
        ([("application/vnd.docker.image.rootfs.diff.tar.gzip", b"x", {})], "compression=uncompressed"),
        ([("application/vnd.in-toto+json", b"x", {})], "no model among its 0 files"),
        ([(IMAGE_LAYER, b"no tar" * 200, {})], "is no tar file"),
        (
            [("x", b"{}", {TITLE: "a/config.json"}), ("x", b"{ }", {TITLE: "b/config.json"})],
            "several models: a, b",
        ),
        ([], "no model among its 0 files"),
    ],
)
def test_what_holds_no_model_says_what_works(
    bench: Bench, double: Double, layers: list[tuple[str, bytes, dict[str, str]]], words: str
) -> None:
    double.add_layers("v1", layers)
    with pytest.raises(StageError) as caught:
        repository(bench, double).list_files("main")
    assert (caught.value.reason, caught.value.code) == ("UnsupportedLayout", Exit.DATA)
    assert words in caught.value.message
    assert "oras push" in caught.value.message


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"layers": {}},
        {"layers": [{"digest": "../x", "size": 1}]},
        {"layers": [{"digest": "sha256:" + "a" * 64}]},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(DataError) as caught:
        read_layers(document, "r/n")
    assert caught.value.reason == "UnsupportedLayout"


def test_docker_models_without_paths_get_the_names_that_engines_know() -> None:
    def names(*types: str) -> list[str]:
        described = [
            {"mediaType": f"application/vnd.docker.ai.{one}", "digest": digest_of(bytes([number])), "size": 1}
            for number, one in enumerate(types)
        ]
        return [layer.path for layer in read_layers({"layers": described}, "r/n")]

    assert names("gguf.v3", "license") == ["model.gguf", "LICENSE"]
    assert names("gguf.v3", "gguf.v3", "mmproj") == [
        "model-00001-of-00002.gguf",
        "model-00002-of-00002.gguf",
        "mmproj.gguf",
    ]


def test_a_folder_of_docker_is_a_tar_though_it_has_a_path() -> None:
    described = {"mediaType": "application/vnd.docker.ai.dir.tar", "digest": digest_of(b""), "size": 1}
    (layer,) = read_layers({"layers": [described | {"annotations": {FILEPATH: "tokenizer"}}]}, "r/n")
    assert layer.kind is Kind.TAR


def test_of_an_index_the_image_for_amd64_is_read_and_the_index_pinned(bench: Bench, double: Double) -> None:
    others = [double.add_layers(name, layers_of("oras")[:1]) for name in ("arm", "attestation")]
    wanted = double.add_layers("amd", layers_of("oras"))
    platforms = [{"architecture": "arm64"}, {"architecture": "unknown"}, {"architecture": "amd64"}]
    listed = [
        {"digest": digest, "size": 1, "platform": platform}
        for digest, platform in zip([*others, wanted], platforms, strict=True)
    ]
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": listed}
    pin = double.add_manifest("v1", index)
    listing, contents = brought(bench, double)
    assert (listing.commit, contents) == (pin, MODEL)
    assert choose_manifest({"manifests": listed[:2]}, "r/n") == others[0]
    with pytest.raises(DataError, match="names no manifest"):
        choose_manifest({"manifests": listed[1:2]}, "r/n")


def test_the_licence_of_a_modelpack_is_in_its_configuration(bench: Bench, double: Double) -> None:
    content = json.dumps(LICENSED).encode()
    config = {
        "mediaType": f"{MODELPACK}.config.v1+json",
        "digest": double.add_blob(content),
        "size": len(content),
    }
    double.add_layers("v1", layers_of("modelpack"), config=config)
    assert repository(bench, double).list_files("main").license == "apache-2.0"
    double.add_layers("v1", layers_of("modelpack"), config=config | {"size": 5 << 20})
    assert repository(bench, double).list_files("main").license == ""


def member(path: str, digest: str = "a") -> Member:
    return Member(path, 1, digest, 0)


def test_later_layers_replace_and_remove_what_earlier_ones_hold() -> None:
    below = [member("models/config.json"), member("models/old/a"), member("models/b"), member("etc/x")]
    above = [member("models/config.json", "b"), member("models/.wh.old"), member("etc/.wh..wh..opq")]
    found = {one.path: one.digest for one in overlay([below, above])}
    assert found == {"models/config.json": "b", "models/b": "a"}
    assert overlay([below, [member(".wh..wh..opq")]]) == []
    assert len(overlay([below, [member("models/.wh.")]])) == 1


def test_links_are_left_out_and_an_operating_system_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_bytes(bytes(100_000))
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("config.json", "link.json"):
            tar.add(tmp_path / name, name)
    content = (tmp_path / "x.tar").read_bytes()

    def read(start: int, length: int) -> bytes:
        return content[start : start + length]

    assert [one.path for one in read_members("d", len(content), read, "r/n")] == ["config.json"]
    monkeypatch.setattr(tar_index, "READS_LIMIT", 1)
    with pytest.raises(DataError, match="operating systems"):
        read_members("d", len(content), read, "r/n")


@pytest.mark.unverified("Public registries")
@pytest.mark.parametrize("scheme", ["oci", "ollama"])
def test_a_public_registry(bench: Bench, scheme: str) -> None:
    source = {"SLIPWAY_SOURCE": os.environ[f"SLIPWAY_VERIFY_{scheme.upper()}"]}
    found = connect(bench.job("fetch", **source))
    listing = found.list_files("main")
    fetch_all(found, listing.commit, list(listing.files), bench.store)
    assert connect(bench.job("fetch", **source)).list_files(listing.commit).commit == listing.commit
