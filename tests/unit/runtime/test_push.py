"""Artifacts pushed to a registry: the same image every time, nothing twice, refusals in words."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime import oci_image, registry_upload, resuming
from slipway_runtime.contract import Exit
from slipway_runtime.errors import RequestError, StageError
from slipway_runtime.fetch import fetch_all
from slipway_runtime.files import FileEntry
from slipway_runtime.oci_image import build_tar, plan_layers
from slipway_runtime.registry_upload import Upload
from slipway_runtime.sources import connect
from slipway_runtime.stores import push_published
from slipway_runtime.stores.oci import push
from tests.support.registry_double import Double, serving
from tests.support.registry_models import large, publish_folder
from tests.support.web_files import closing_clients

from .conftest import Bench

CONTENTS = {"model.gguf": large(1), "chat_template.jinja": b"{{ messages }}", "1_Pooling/config.json": b"{}"}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Parts of 300 kB, so that a small file has several; cuts are taken up at once."""
    monkeypatch.setattr(Upload.__init__, "__defaults__", (300_000, 0.0))
    monkeypatch.setattr(resuming.bring, "__defaults__", (0.0,))
    with closing_clients(monkeypatch):
        yield


@pytest.fixture
def double() -> Iterator[Double]:
    with serving(Double()) as served:
        yield served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish_folder(tmp_path / "store" / "published", CONTENTS)


def pushed(bench: Bench, double: Double, folder: Path, **environment: str) -> dict[str, object]:
    return push(bench.job("publish", **environment), folder, f"{double.host}/acme/tiny:v1")


def refused(bench: Bench, double: Double, folder: Path) -> StageError:
    with pytest.raises(StageError) as caught:
        pushed(bench, double, folder)
    return caught.value


def test_what_was_pushed_can_be_fetched_again(bench: Bench, double: Double, folder: Path) -> None:
    image = pushed(bench, double, folder)["image"]
    found = connect(bench.job("fetch", SLIPWAY_SOURCE=f"oci://{image}"))
    listing = found.list_files("main")
    assert str(image).endswith(listing.commit)
    fetch_all(found, listing.commit, list(listing.files), bench.folder / "again")
    for name in (*CONTENTS, "manifest.json"):
        assert (bench.folder / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_same_artifact_is_the_same_image_on_every_machine(
    bench: Bench, double: Double, folder: Path, tmp_path: Path
) -> None:
    first = pushed(bench, double, folder)
    other = publish_folder(tmp_path / "other", dict(reversed(CONTENTS.items())))
    (other / "model.gguf").chmod(0o600)
    with serving(Double()) as elsewhere:
        again = pushed(bench, elsewhere, other)
        assert elsewhere.manifests["v1"] == double.manifests["v1"]
    assert str(again["image"]).partition("@")[2] == str(first["image"]).partition("@")[2]


def test_what_exists_is_not_uploaded_again(
    bench: Bench, double: Double, folder: Path, tmp_path: Path
) -> None:
    first = pushed(bench, double, folder)
    double.seen.clear()
    assert pushed(bench, double, folder) == first | {"pushedBytes": 0}
    assert double.asked("GET") == ["/v2/acme/tiny/manifests/v1"]
    assert not (double.asked("POST") + double.asked("PUT"))
    other = publish_folder(tmp_path / "other", CONTENTS | {"chat_template.jinja": b"another"})
    small = pushed(bench, double, other)["pushedBytes"]
    assert isinstance(small, int)
    assert 0 < small < 20_000
    assert "PATCH" not in {method for method, _, _ in double.seen}


def test_the_image_has_a_valid_configuration_for_each_architecture(
    bench: Bench, double: Double, folder: Path
) -> None:
    pushed(bench, double, folder)
    index = json.loads(double.manifests["v1"][1])
    platforms = [one["platform"]["architecture"] for one in index["manifests"]]
    assert platforms == list(oci_image.ARCHITECTURES)
    for one in index["manifests"]:
        manifest = json.loads(double.manifests[one["digest"]][1])
        config = json.loads(double.blobs[manifest["config"]["digest"]])
        assert config["architecture"] == one["platform"]["architecture"]
        assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
        assert [len(double.blobs[layer["digest"]]) for layer in manifest["layers"]] == [
            layer["size"] for layer in manifest["layers"]
        ]
        names = []
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(double.blobs[layer["digest"]])) as tar:
                entries = tar.getmembers()
            names += [entry.name for entry in entries]
            assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in entries} == {(0, 0, 0, "")}
            assert all(entry.mode == (0o755 if entry.isdir() else 0o644) for entry in entries)
        assert names == [
            "1_Pooling",
            "1_Pooling/config.json",
            "chat_template.jinja",
            "manifest.json",
            "model.gguf",
        ]


@pytest.mark.parametrize("cuts", [[100_000], [0, 0, 250_000, 1], [299_999] * 4])
def test_a_cut_upload_goes_on_where_the_registry_says(
    bench: Bench, double: Double, folder: Path, cuts: list[int]
) -> None:
    double.cut_uploads = list(cuts)
    pushed(bench, double, folder)
    assert not double.cut_uploads
    assert large(1) in max(double.blobs.values(), key=len)
    sent = [path for path in double.asked("POST") if "uploads" in path]
    assert len(sent) == 4  # two layers, two configurations: none was begun anew


def test_an_upload_that_never_goes_on_ends(bench: Bench, double: Double, folder: Path) -> None:
    double.cut_uploads = [0] * 100
    assert refused(bench, double, folder).code == Exit.TRANSIENT
    assert len(double.cut_uploads) > 90


def test_a_registry_without_parts_gets_the_whole(bench: Bench, double: Double, folder: Path) -> None:
    double.refused["PATCH"] = (405, '{"errors": [{"code": "UNSUPPORTED"}]}')
    error = refused(bench, double, folder)
    assert error.reason == "PushRefused"
    double.refused["PATCH"] = (400, "no chunks")
    pushed(bench, double, folder)
    assert large(1) in max(double.blobs.values(), key=len)


@pytest.mark.parametrize(
    ("status", "body", "reason", "code"),
    [
        (403, '{"errors": [{"code": "DENIED", "message": "no push"}]}', "PushRefused", Exit.NO_PERMISSION),
        (401, "", "PushRefused", Exit.NO_PERMISSION),
        (405, "", "PushRefused", Exit.NO_PERMISSION),
        (507, "", "RegistryFull", Exit.NO_SPACE),
        (403, '{"errors": [{"code": "DENIED", "message": "Quota exceeded"}]}', "RegistryFull", Exit.NO_SPACE),
        (404, '{"errors": [{"code": "NAME_UNKNOWN"}]}', "RepositoryNotFound", Exit.NO_INPUT),
        (413, "", "HubRefused", Exit.CONFIG),
        (429, "", "HubUnavailable", Exit.TRANSIENT),
        (502, "", "HubUnavailable", Exit.TRANSIENT),
    ],
)
def test_a_registry_that_refuses_says_why(
    bench: Bench, double: Double, folder: Path, status: int, body: str, reason: str, code: Exit
) -> None:
    double.refused["POST"] = (status, body)
    error = refused(bench, double, folder)
    assert (error.reason, error.code) == (reason, code)
    assert "acme/tiny" in error.message


def test_a_login_in_the_middle_of_an_upload_sends_the_part_again(
    bench: Bench, double: Double, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.user = "writer:word"
    (bench.folder / "username").write_text("writer")
    (bench.folder / "password").write_text("word")
    part = registry_upload.Upload._part

    def forgetting(self: Upload, *arguments: Any) -> Any:
        self.registry.login._header = "Bearer expired"
        return part(self, *arguments)

    monkeypatch.setattr(registry_upload.Upload, "_part", forgetting)
    pushed(bench, double, folder)
    assert large(1) in max(double.blobs.values(), key=len)
    patches = [word for method, _, word in double.seen if method == "PATCH"]
    assert patches[:2] == ["Bearer expired", "Bearer t0k"]


def test_the_stage_publish_pushes_where_it_is_told(bench: Bench, double: Double, folder: Path) -> None:
    del folder
    target = f"oci://{double.host}/acme/tiny"
    code, result, log = bench.run("publish", SLIPWAY_PUSH_TO=target)
    assert code == 0, log
    tag = result["digest"].replace(":", "-")
    assert result["image"].startswith(f"{double.host}/acme/tiny@sha256:")
    assert tag in double.manifests
    assert push_published(bench.job("publish")) == {}
    with pytest.raises(RequestError, match="oci://"):
        push_published(bench.job("publish", SLIPWAY_PUSH_TO="ftp://x/y"))


def test_nothing_published_is_nothing_to_push(bench: Bench, double: Double, tmp_path: Path) -> None:
    assert refused(bench, double, tmp_path).reason == "FileNotFound"


def test_many_large_files_share_layers_and_none_is_lost() -> None:
    entries = [FileEntry(f"model-{number:05d}.safetensors", oci_image.BIG, "") for number in range(200)]
    entries.append(FileEntry("config.json", 2, ""))
    layers = plan_layers(entries)
    assert len(layers) <= oci_image.LAYERS_LIMIT
    assert sorted(entry.path for layer in layers for entry in layer) == sorted(
        entry.path for entry in entries
    )
    assert plan_layers(entries[:2]) == [[entries[0]], [entries[1]]]
    assert plan_layers([]) == []


def test_any_part_of_a_tar_can_be_read_alone(folder: Path) -> None:
    entries = [FileEntry(name, len(content), "") for name, content in sorted(CONTENTS.items())]
    tar = build_tar(folder, entries)
    whole = b"".join(tar.blocks(0, tar.size))
    assert len(whole) == tar.size
    for start, end in ((0, 10), (511, 513), (5000, tar.size - 700), (tar.size - 1, tar.size), (7, 7)):
        assert b"".join(tar.blocks(start, end)) == whole[start:end]


def test_a_file_of_more_than_8_gib_and_a_long_name_fit(tmp_path: Path) -> None:
    name = f"{'folder' * 20}/model.gguf"
    (tmp_path / name).parent.mkdir()
    with (tmp_path / name).open("wb") as sparse:
        sparse.truncate(9 << 30)
    tar = build_tar(tmp_path, [FileEntry(name, 9 << 30, "")])
    head = b"".join(tar.blocks(0, 8192))
    with tarfile.open(fileobj=io.BytesIO(head + bytes(1 << 20)), mode="r|") as read:
        entries = [read.next(), read.next()]
    assert [entry.name for entry in entries if entry] == [name.partition("/")[0], name]
    assert entries[1] is not None
    assert entries[1].size == 9 << 30


def test_a_registry_is_reached_elsewhere_and_keeps_its_name(
    bench: Bench, double: Double, folder: Path
) -> None:
    job = bench.job("publish", SLIPWAY_ENDPOINT_PUSH=f"{double.url}/models")
    image = push(job, folder, "registry.example.com/acme/tiny:v1")["image"]
    assert image.startswith("registry.example.com/acme/tiny@sha256:")
    assert double.asked("PUT")[-1] == "/v2/models/acme/tiny/manifests/v1"
