"""Fetch ends with all files whole, however often it is killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from slipway_runtime import files
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch, git_blob_id, prepare_folder
from slipway_runtime.inspection import inspect
from slipway_runtime.sources import RemoteFile

from .conftest import Bench, HubServer, build_repository, build_safetensors, downloading

MIB = 1 << 20
LARGE = 32 * MIB
"""huggingface_hub writes 10 MiB at a time: what is resumed is counted in such steps."""


def commit_of(bench: Bench, hub: HubServer) -> dict[str, str]:
    commit = inspect(bench.job("inspect", HF_ENDPOINT=hub.url))["commit"]
    hub.sent_bytes()
    return {"HF_ENDPOINT": hub.url, "SLIPWAY_REVISION": commit}


def make_large(hub: HubServer) -> None:
    weights = build_safetensors({"a": ("BF16", [LARGE // 2], bytes(LARGE))})
    build_repository(hub.root / "acme" / "large", weights)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_published_holds_the_commit_and_nothing_else(bench: Bench, hub: HubServer) -> None:
    result = fetch(bench.job("fetch", **commit_of(bench, hub)))
    published = bench.store / "published"
    assert names(published) == [
        "config.json", "manifest.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert names(bench.store) == [f"published/{name}" for name in names(published)], (
        "no partial files are left"
    )
    assert (published / "model.safetensors").read_bytes() == (
        hub.root / "acme/tiny/model.safetensors"
    ).read_bytes()
    assert result["files"] == 4
    assert result["sizeBytes"] == sum(entry.bytes for entry in files.verify_manifest(published) or ())
    assert '"percent": 100' in bench.out.getvalue()


def test_a_rerun_asks_the_hub_nothing(bench: Bench, hub: HubServer) -> None:
    environment = commit_of(bench, hub)
    first = fetch(bench.job("fetch", **environment))
    hub.requests()
    assert fetch(bench.job("fetch", **environment)) == {**first, "resumed": True}
    assert hub.requests() == {}


def test_the_same_commit_has_the_same_digest_in_every_store(bench: Bench, hub: HubServer) -> None:
    environment = commit_of(bench, hub)
    other = bench.folder / "other"
    other.mkdir()
    digests = {
        fetch(bench.job("fetch", **environment, SLIPWAY_STORE=str(store)))["digest"]
        for store in (bench.store, other)
    }
    assert len(digests) == 1


def test_kill_9_resumes_behind_the_last_byte_and_publishes_nothing_half(bench: Bench, hub: HubServer) -> None:
    make_large(hub)
    environment = commit_of(bench, hub) | {"SLIPWAY_SOURCE": "hf://acme/large", "SLIPWAY_REVISION": "main"}
    hub.fail(bytes_per_second=24 * MIB)
    process = bench.start("fetch", **environment)
    part = downloading(bench.store, process, 10 * MIB)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = part.stat().st_size
    assert not (bench.store / "published").exists()
    hub.fail()
    hub.sent_bytes()
    code, result, log = bench.run("fetch", **environment)
    assert (code, result["ok"]) == (0, True), log
    assert hub.sent_bytes() < LARGE - kept + MIB
    assert files.verify_manifest(bench.store / "published") is not None
    assert f"going on behind {kept}" in log


def test_sigterm_stops_a_download_at_once_and_is_no_failure(bench: Bench, hub: HubServer) -> None:
    make_large(hub)
    environment = commit_of(bench, hub) | {"SLIPWAY_SOURCE": "hf://acme/large", "SLIPWAY_REVISION": "main"}
    hub.fail(bytes_per_second=MIB)
    process = bench.start("fetch", **environment)
    downloading(bench.store, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert bench.result()["reason"] == "Terminated"
    assert hub.sent_bytes() < LARGE // 2, "it stopped long before the download was over"


def test_a_cut_connection_goes_on_by_itself(bench: Bench, hub: HubServer) -> None:
    make_large(hub)
    environment = commit_of(bench, hub) | {"SLIPWAY_SOURCE": "hf://acme/large", "SLIPWAY_REVISION": "main"}
    hub.fail(cut_after=15 * MIB, cuts=1)
    assert fetch(bench.job("fetch", **environment))["files"] == 4


def test_stale_bytes_of_an_earlier_try_are_thrown_away(bench: Bench, hub: HubServer) -> None:
    environment = commit_of(bench, hub)
    partial = bench.store / "partial"
    (partial / "old").mkdir(parents=True)
    (partial / "old" / "shard.safetensors").write_bytes(b"of another commit")
    (partial / "model.safetensors.part").write_bytes(b"wrong from the first byte on")
    (partial / "tokenizer.json.part").write_bytes(b"x" * 5000)
    (partial / "config.json").write_bytes(b"{}")
    fetch(bench.job("fetch", **environment))
    published = bench.store / "published"
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (published / name).read_bytes() == (hub.root / "acme" / "tiny" / name).read_bytes()
    assert "old/shard.safetensors" not in names(published)


def test_a_whole_file_of_a_killed_try_is_not_downloaded_again(bench: Bench, hub: HubServer) -> None:
    environment = commit_of(bench, hub)
    (bench.store / "partial").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        content = (hub.root / "acme" / "tiny" / name).read_bytes()
        (bench.store / "partial" / name).write_bytes(content)
    hub.requests()
    fetch(bench.job("fetch", **environment))
    asked = " ".join(hub.requests())
    assert "config.json" in asked
    assert "safetensors" not in asked


def test_a_hub_whose_bytes_differ_from_its_promise_is_refused(bench: Bench, hub: HubServer) -> None:
    environment = commit_of(bench, hub)
    (hub.root / "acme" / "tiny" / "repo.json").write_text(
        json.dumps({"sha256": {"model.safetensors": "0" * 64}})
    )
    with pytest.raises(StageError) as caught:
        fetch(bench.job("fetch", **(environment | {"SLIPWAY_REVISION": "main"})))
    assert (caught.value.reason, caught.value.code) == ("DigestMismatch", Exit.DATA)
    assert not (bench.store / "published").exists()


def test_truncated_weights_are_never_published(bench: Bench, hub: HubServer) -> None:
    environment = commit_of(bench, hub)
    weights = hub.root / "acme" / "tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(StageError) as caught:
        fetch(bench.job("fetch", **(environment | {"SLIPWAY_REVISION": "main"})))
    assert (caught.value.reason, caught.value.code) == ("TruncatedWeights", Exit.DATA)
    assert not (bench.store / "published").exists()


def test_a_store_without_room_is_refused_before_the_first_byte(
    bench: Bench, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = commit_of(bench, hub)
    monkeypatch.setattr(
        files.shutil, "disk_usage", lambda _: type("Usage", (), {"total": 1 << 30, "free": 100})
    )
    with pytest.raises(StageError) as caught:
        fetch(bench.job("fetch", **environment))
    assert (caught.value.reason, caught.value.code) == ("StoreFull", Exit.NO_SPACE)
    assert hub.sent_bytes() == 0


def test_a_damaged_store_is_named(bench: Bench, hub: HubServer) -> None:
    environment = commit_of(bench, hub)
    fetch(bench.job("fetch", **environment))
    (bench.store / "published" / "config.json").write_bytes(b"{}")
    with pytest.raises(StageError) as caught:
        fetch(bench.job("fetch", **environment))
    assert (caught.value.reason, caught.value.code) == ("DigestMismatch", Exit.DATA)


def test_git_blob_id_is_gits(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"Hello, World!")
    assert git_blob_id(path) == "b45ef6fec89518d314f546fd6c3025367b721684"  # git hash-object


def test_the_file_of_an_earlier_pin_is_not_taken_for_this_one(tmp_path: Path) -> None:
    unmarked, marked = RemoteFile("model.gguf", 4), RemoteFile("marked.gguf", 4, sha256="ab")
    folder = prepare_folder(tmp_path / "partial", "sha256:1", [unmarked, marked])
    for name in ("model.gguf.part", "marked.gguf"):
        (folder / name).write_bytes(b"abc")
    prepare_folder(folder, "sha256:1", [unmarked, marked])
    assert sorted(path.name for path in folder.iterdir()) == ["marked.gguf", "model.gguf.part"]
    prepare_folder(folder, "sha256:2", [unmarked, marked])
    assert sorted(path.name for path in folder.iterdir()) == ["marked.gguf"]
