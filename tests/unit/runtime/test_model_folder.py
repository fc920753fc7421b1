"""A model as a folder: made whole or not at all, resumed, published as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors import SafetensorError

from slipway_runtime import files
from slipway_runtime.errors import DataError, NotFoundError, StageError, StoreFullError
from slipway_runtime.job import Job
from slipway_runtime.model_folder import find_folder, make_folder
from slipway_runtime.publish import publish

from .conftest import Bench
from .test_publish import Killed, contents, die_at

CONTENT = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "sub/extra.json": b"[]"}
WHOLE = ["published", "published/config.json", "published/manifest.json", "published/model.safetensors",
         "published/sub", "published/sub/extra.json"]  # fmt: skip


def write(folder: Path) -> None:
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def job_of(bench: Bench, stage: str) -> Job:
    return bench.job(stage, SLIPWAY_METHOD="awq", SLIPWAY_LEVEL="W4A16")


def test_a_folder_is_made_once_and_resumed(bench: Bench) -> None:
    first = make_folder(job_of(bench, "quantize"), 100, write)
    assert first == {"sizeBytes": 7004, "files": 3}
    again = make_folder(job_of(bench, "quantize"), 100, lambda _: pytest.fail("made twice"))
    assert again == {**first, "resumed": True}
    folder, entries = find_folder(job_of(bench, "evaluate"))
    assert folder == bench.store / "work" / "model"
    assert {entry.path: entry.bytes for entry in entries} == {
        name: len(text) for name, text in CONTENT.items()
    }


def test_what_a_failed_try_wrote_is_gone_and_nothing_vouches_for_it(bench: Bench) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        make_folder(job_of(bench, "quantize"), 0, fail)
    assert contents(bench) == ["work"]
    with pytest.raises(NotFoundError, match="must end first"):
        find_folder(job_of(bench, "evaluate"))


def test_what_was_chosen_is_kept_for_the_try_after_a_kill(bench: Bench) -> None:
    def make(folder: Path) -> None:
        write(folder)
        made["samples"] = "7"

    made = {"groupSize": "128"}
    first = make_folder(job_of(bench, "quantize"), 0, make, made)
    assert first["made"] == {"groupSize": "128", "samples": "7"}
    again = make_folder(job_of(bench, "quantize"), 0, write, {"groupSize": "128"})
    assert again == {**first, "resumed": True}
    assert find_folder(job_of(bench, "evaluate"))[1]


@pytest.mark.parametrize(
    ("words", "kind", "reason"),
    [
        ("I/O error: No space left on device (os error 28)", StoreFullError, "StoreFull"),
        ("Error while deserializing header: incomplete metadata", DataError, "BrokenWeights"),
    ],
)
def test_what_safetensors_refuse_has_a_reason(
    bench: Bench, words: str, kind: type[StageError], reason: str
) -> None:
    def refuse(_: Path) -> None:
        raise SafetensorError(words)

    with pytest.raises(kind) as caught:
        make_folder(job_of(bench, "quantize"), 0, refuse)
    assert caught.value.reason == reason
    assert contents(bench) == ["work"]


def test_a_folder_that_changed_is_made_anew(bench: Bench) -> None:
    make_folder(job_of(bench, "quantize"), 0, write)
    (bench.store / "work" / "model" / "config.json").write_text("[]")
    assert "resumed" not in make_folder(job_of(bench, "quantize"), 0, write)


def test_publish_shows_the_files_as_they_are(bench: Bench) -> None:
    make_folder(job_of(bench, "quantize"), 0, write)
    result = publish(job_of(bench, "publish"))
    assert contents(bench) == WHOLE
    manifest = files.read_json(bench.store / "published" / "manifest.json") or {}
    assert (manifest["stage"], manifest["recipe"]) == ("quantize", {"method": "awq", "level": "W4A16"})
    assert result["sizeBytes"] == 7004
    assert publish(job_of(bench, "publish")) == {**result, "resumed": True}


def test_changed_bytes_are_not_published(bench: Bench) -> None:
    make_folder(job_of(bench, "quantize"), 0, write)
    (bench.store / "work" / "model" / "model.safetensors").write_bytes(b"weighty" * 1000)
    with pytest.raises(StageError) as caught:
        publish(job_of(bench, "publish"))
    assert caught.value.reason == "DigestMismatch"
    assert not (bench.store / "published").exists()


def test_killed_anywhere_publish_ends_in_the_same_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(job_of(bench, "quantize"), 0, write)
    expected = publish(job_of(bench, "publish"))["digest"]
    killed = 0
    for limit in range(40):
        shutil.rmtree(bench.store)
        bench.store.mkdir()
        make_folder(job_of(bench, "quantize"), 0, write)
        with monkeypatch.context() as patch:
            die_at(patch, limit)
            try:
                publish(job_of(bench, "publish"))
            except Killed:
                killed += 1
        published = bench.store / "published"
        assert not published.exists() or files.verify_manifest(published) is not None
        assert publish(job_of(bench, "publish"))["digest"] == expected
        assert contents(bench) == WHOLE
    assert killed > 5
