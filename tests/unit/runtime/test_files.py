"""Files are whole or absent."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from slipway_runtime import files
from slipway_runtime.errors import DataError, NotFoundError, RequestError, StoreFullError


def test_sha256_of_reports_what_it_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (files.CHUNK + 1))
    seen: list[int] = []
    assert len(files.sha256_of(path, seen.append)) == 64
    assert seen == [files.CHUNK, files.CHUNK + 1]


def test_write_json_is_the_same_bytes_for_the_same_value(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    files.write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_read_json_takes_a_broken_file_for_an_absent_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    assert files.read_json(path) is None
    assert files.read_json(tmp_path / "absent.json") is None


def publish(folder: Path) -> list[files.FileEntry]:
    folder.mkdir()
    (folder / "model").write_bytes(b"12345")
    entries = [files.FileEntry("model", 5, files.sha256_of(folder / "model"))]
    files.write_manifest(folder, entries, "convert", {"level": "F16"})
    return entries


def test_manifest_round_trip(tmp_path: Path) -> None:
    entries = publish(tmp_path / "published")
    seen: list[tuple[int, int]] = []
    assert files.verify_manifest(tmp_path / "published", lambda *figures: seen.append(figures)) == entries
    assert seen == [(5, 5)]
    manifest = json.loads((tmp_path / "published" / "manifest.json").read_text())
    assert set(manifest) == {"files", "stage", "recipe"}
    summary = files.published_summary(tmp_path / "published", entries)
    assert summary["sizeBytes"] == 5
    assert summary["files"] == 1
    assert summary["digest"] == f"sha256:{files.sha256_of(tmp_path / 'published' / 'manifest.json')}"


@pytest.mark.parametrize("content", [b"1234", b"12346", None])
def test_verify_manifest_finds_damage(tmp_path: Path, content: bytes | None) -> None:
    publish(tmp_path / "published")
    if content is None:
        (tmp_path / "published" / "model").unlink()
    else:
        (tmp_path / "published" / "model").write_bytes(content)
    with pytest.raises(DataError) as caught:
        files.verify_manifest(tmp_path / "published")
    assert caught.value.reason == "DigestMismatch"


def test_a_folder_without_a_manifest_was_not_published(tmp_path: Path) -> None:
    assert files.verify_manifest(tmp_path) is None


def test_check_space_tells_too_small_from_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"total": 1000, "free": 100})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _folder: usage)
    files.check_space(tmp_path, 100)
    with pytest.raises(StoreFullError) as full:
        files.check_space(tmp_path, 101)
    with pytest.raises(RequestError) as small:
        files.check_space(tmp_path, 1001)
    assert (full.value.reason, full.value.code) == ("StoreFull", 73)
    assert (small.value.reason, small.value.code) == ("StoreTooSmall", 78)
    assert "1001 B still to write, 100 B of 1000 B free" in small.value.message


def test_a_disk_that_fills_up_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreFullError, match="filled up"), files.full_disk_as_store_full(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), files.full_disk_as_store_full(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_require_file_names_the_stage_before(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="stage fetch must end first"):
        files.require_file(tmp_path / "config.json", "fetch")


def test_clear_temporary_leaves_the_rest(tmp_path: Path) -> None:
    for name in (".model.gguf.7.tmp", "model.gguf", "convert.json"):
        (tmp_path / name).touch()
    files.clear_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["convert.json", "model.gguf"]


def test_a_digest_begun_too_early_is_computed_anew(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"all of it")
    assert files.Hashing(path).result() == files.sha256_of(path)
    early = files.Hashing(path)
    early._thread.join()
    path.write_bytes(b"and more than that")
    assert early.result() == files.sha256_of(path)
