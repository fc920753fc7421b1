"""The source pvc://: a folder of a claim, copied whole, pinned by what it holds, left by no link."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway_runtime import copying
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch
from slipway_runtime.inspection import inspect
from slipway_runtime.job import Job
from slipway_runtime.sources import connect, pvc

from .conftest import Bench, build_repository, build_safetensors

SOURCE = "pvc://models/team/tiny"


@pytest.fixture
def claim(bench: Bench) -> Path:
    """A claim with a model in team/tiny."""
    folder = bench.folder / "origin"
    build_repository(folder / "team" / "tiny")
    return folder


def job(bench: Bench, stage: str = "inspect", **environment: str) -> Job:
    given = {"SLIPWAY_SOURCE": SOURCE, "SLIPWAY_ORIGIN": str(bench.folder / "origin"), **environment}
    return bench.job(stage, **given)


def refuse(bench: Bench, stage: str = "inspect", **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        (inspect if stage == "inspect" else fetch)(job(bench, stage, **environment))
    return caught.value


def test_inspect_and_fetch_agree_on_the_pin(bench: Bench, claim: Path) -> None:
    found = inspect(job(bench))
    assert found["commit"].startswith("sha256:")
    assert found["facts"]["license"] == "apache-2.0"
    done = fetch(job(bench, "fetch", SLIPWAY_REVISION=found["commit"]))
    assert done["files"] == found["files"] == 4
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (bench.store / "published" / name).read_bytes() == (claim / "team/tiny" / name).read_bytes()
    assert not (bench.store / "published" / "modeling_llama.py").exists()


def test_the_claim_itself_may_be_the_folder(bench: Bench, claim: Path) -> None:
    (claim / "lost+found").mkdir(mode=0)
    for path in (claim / "team" / "tiny").iterdir():
        path.rename(claim / path.name)
    assert inspect(job(bench, SLIPWAY_SOURCE="pvc://models"))["files"] == 4


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_changed_since_it_was_pinned_is_refused(bench: Bench, claim: Path, name: str) -> None:
    path = claim / "team" / "tiny" / name
    if name == "model.safetensors":  # large enough to be pinned by its time of change
        size = pvc.SMALL
        path.write_bytes(build_safetensors({"embed": ("BF16", [size // 2], b"\0" * size)}))
    pin = inspect(job(bench))["commit"]
    os.utime(path, ns=(1, 1)) if name == "model.safetensors" else path.write_text(path.read_text() + " ")
    error = refuse(bench, "fetch", SLIPWAY_REVISION=pin)
    assert (error.reason, error.code) == ("SourceChanged", Exit.DATA)
    assert "slipway.dev/replan" in error.message


def test_a_touched_small_file_is_still_the_same(bench: Bench, claim: Path) -> None:
    pin = inspect(job(bench))["commit"]
    os.utime(claim / "team" / "tiny" / "config.json", ns=(1, 1))
    assert fetch(job(bench, "fetch", SLIPWAY_REVISION=pin))["files"] == 4


def test_a_killed_copy_goes_on_and_a_stale_one_is_made_anew(bench: Bench, claim: Path) -> None:
    repository = connect(job(bench, "fetch"))
    listing = repository.list_files("main")
    (weights,) = [file for file in listing.files if file.path == "model.safetensors"]
    content = (claim / "team" / "tiny" / "model.safetensors").read_bytes()
    part = bench.folder / "part"
    for begun in (content[:1000], b"stale" * 10, content + b"too long", b""):
        part.write_bytes(begun)
        repository.download(listing.commit, weights, part)
        assert part.read_bytes() == content


@pytest.mark.parametrize("unable", [(), ("copy_file_range",), ("copy_file_range", "sendfile")])
def test_every_way_of_copying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unable: tuple[str, ...]
) -> None:
    def refuse_way(*_: object) -> int:
        raise OSError(errno.EXDEV, "another device")

    for name in unable:
        monkeypatch.setattr(os, name, refuse_way)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 100)
    target.write_bytes(source.read_bytes()[:100])
    with source.open("rb") as reading, target.open("r+b") as writing:
        place = 100
        while copied := copying.copy_bytes(reading.fileno(), writing.fileno(), place, 10_000):
            place += copied
    assert target.read_bytes() == source.read_bytes()


def test_an_error_of_the_disk_is_no_reason_to_try_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "copy_file_range", full)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with (
        source.open("rb") as reading,
        (tmp_path / "target").open("wb") as writing,
        pytest.raises(OSError, match="no space"),
    ):
        copying.copy_bytes(reading.fileno(), writing.fileno(), 0, 1)


def link_out(folder: Path) -> None:
    (folder.parent / "secret.json").write_text("{}")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("../secret.json")


def link_folder_out(folder: Path) -> None:
    (folder / "1_Pooling").symlink_to("/etc")


def pipe(folder: Path) -> None:
    (folder / "added_tokens.json").unlink(missing_ok=True)
    os.mkfifo(folder / "added_tokens.json")


@pytest.mark.parametrize("change", [link_out, link_folder_out, pipe])
def test_links_out_and_special_files_are_refused(
    bench: Bench, claim: Path, change: Callable[[Path], None]
) -> None:
    change(claim / "team" / "tiny")
    error = refuse(bench)
    assert (error.reason, error.code) == ("UnsafePath", Exit.DATA)
    assert "claim models" in error.message


def test_links_inside_the_folder_are_files(bench: Bench, claim: Path) -> None:
    folder = claim / "team" / "tiny"
    (folder / "blobs").mkdir()
    (folder / "model.safetensors").rename(folder / "blobs" / "one")
    (folder / "model.safetensors").symlink_to("blobs/one")
    assert fetch(job(bench, "fetch"))["files"] == 4
    published = bench.store / "published" / "model.safetensors"
    assert published.is_file()
    assert not published.is_symlink()


def test_a_file_that_is_swapped_for_a_link_after_the_listing_is_not_read(bench: Bench, claim: Path) -> None:
    repository = connect(job(bench))
    listing = repository.list_files("main")
    (config,) = [file for file in listing.files if file.path == "config.json"]
    path = claim / "team" / "tiny" / "config.json"
    path.unlink()
    path.symlink_to("/etc/hostname")
    for read in (
        lambda: repository.read_range(listing.commit, config, 0, 10),
        lambda: repository.download(listing.commit, config, bench.folder / "part"),
    ):
        with pytest.raises(StageError) as caught:
            read()
        assert caught.value.reason == "UnsafePath"


def test_a_folder_that_is_a_link_out_of_the_claim_is_refused(bench: Bench, claim: Path) -> None:
    outside = bench.folder / "outside"
    shutil.move(claim / "team" / "tiny", outside)
    (claim / "team" / "tiny").symlink_to(outside)
    assert refuse(bench).reason == "UnsafePath"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("pvc://models/absent", "RepositoryNotFound"),
        ("pvc://models/team/../team/tiny", "UnknownScheme"),
        ("pvc://models/team/./tiny", "UnknownScheme"),
        ("pvc://models//tiny", "UnknownScheme"),
        ("pvc://Models/tiny", "UnknownScheme"),
        ("pvc:///tiny", "UnknownScheme"),
    ],
)
def test_addresses_that_lead_nowhere(bench: Bench, claim: Path, source: str, reason: str) -> None:
    error = refuse(bench, SLIPWAY_SOURCE=source)
    assert error.reason == reason
    assert source in error.message


def test_files_that_nobody_else_may_read(bench: Bench, claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def closed(path: Path, *how: int) -> int:
        if Path(path).name == "config.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path, *how)

    monkeypatch.setattr(os, "open", closed)  # root, who may run this, reads everything
    error = refuse(bench)
    assert (error.reason, error.code) == ("AccessDenied", Exit.NO_PERMISSION)
    assert "chmod" in error.message


def test_a_file_written_to_during_the_copy_is_refused(bench: Bench, claim: Path) -> None:
    repository = connect(job(bench, "fetch"))
    listing = repository.list_files("main")
    (weights,) = [file for file in listing.files if file.path == "model.safetensors"]
    os.utime(claim / "team" / "tiny" / "model.safetensors", ns=(1, 1))
    with pytest.raises(StageError) as caught:
        repository.download(listing.commit, weights, bench.folder / "part")
    assert caught.value.reason == "SourceChanged"
