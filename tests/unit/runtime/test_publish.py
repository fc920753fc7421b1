"""Publish shows a whole artifact at once, wherever it was killed before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gguf import GGUFWriter

from slipway_runtime import files
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.publish import publish

from .conftest import Bench

TEMPLATE = "{% for message in messages %}{{ message['content'] }}\u2026{% endfor %}"


def finish(bench: Bench, template: str = TEMPLATE, stage: str = "quantize") -> Path:
    """Write what quantize leaves behind."""
    work = bench.store / "work"
    work.mkdir()
    writer = GGUFWriter(work / "model.gguf", "llama")
    writer.add_context_length(2048)
    if template:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    record = {"sizeBytes": 0, "sha256": files.sha256_of(work / "model.gguf")}
    files.write_json(work / f"{stage}.json", record)
    files.write_json(work / "evaluate.json", {"question": {}, "answer": {}})
    return work / "model.gguf"


def run(bench: Bench) -> dict[str, object]:
    return publish(bench.job("publish", SLIPWAY_LEVEL="Q4_K_M"))


def contents(bench: Bench) -> list[str]:
    return sorted(path.relative_to(bench.store).as_posix() for path in bench.store.rglob("*"))


WHOLE = ["published", "published/chat_template.jinja", "published/manifest.json", "published/model.gguf"]


def test_model_template_and_manifest_appear(bench: Bench) -> None:
    finish(bench)
    result = run(bench)
    assert contents(bench) == WHOLE, "work is gone, published is whole"
    assert (bench.store / "published" / "chat_template.jinja").read_text(encoding="utf-8") == TEMPLATE
    manifest = files.read_json(bench.store / "published" / "manifest.json") or {}
    assert manifest["stage"] == "quantize"
    assert manifest["recipe"] == {"method": "gguf", "level": "Q4_K_M"}
    assert result["files"] == 2
    assert files.verify_manifest(bench.store / "published") is not None


def test_a_base_model_has_no_template(bench: Bench) -> None:
    finish(bench, template="", stage="convert")
    assert run(bench)["files"] == 1
    assert contents(bench) == ["published", "published/manifest.json", "published/model.gguf"]


def test_a_rerun_verifies_and_changes_nothing(bench: Bench) -> None:
    finish(bench)
    first = run(bench)
    assert run(bench) == {**first, "resumed": True}


def test_every_rename_may_be_the_last_act(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill at each file operation in turn: nothing half is ever published, and the next try ends the same."""
    finish(bench)
    pristine = bench.folder / "pristine"
    shutil.copytree(bench.store, pristine)
    expected = run(bench)["digest"]
    killed = 0
    for limit in range(100):
        shutil.rmtree(bench.store)
        shutil.copytree(pristine, bench.store)
        with monkeypatch.context() as patch:
            die_at(patch, limit)
            try:
                run(bench)
                break
            except Killed:
                killed += 1
        published = bench.store / "published"
        assert not published.exists() or files.verify_manifest(published) is not None
        assert run(bench)["digest"] == expected
        assert contents(bench) == WHOLE
    assert killed > 5


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours may catch it."""


def die_at(patch: pytest.MonkeyPatch, limit: int) -> None:
    """Let the file operation number ``limit`` of Path and shutil be the one that does not happen any more."""
    done = 0

    def deadly(original):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - any function
        def act(*args, **kwargs):  # type: ignore[no-untyped-def] # noqa: ANN002, ANN003, ANN202
            nonlocal done
            if done == limit:
                raise Killed
            done += 1
            return original(*args, **kwargs)

        return act

    for name in ("replace", "mkdir", "write_text"):
        patch.setattr(Path, name, deadly(getattr(Path, name)))
    patch.setattr(shutil, "rmtree", deadly(shutil.rmtree))
    patch.setattr(files, "sync", deadly(files.sync))


def test_changed_bytes_are_not_published(bench: Bench) -> None:
    model = finish(bench)
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(StageError) as caught:
        run(bench)
    assert (caught.value.reason, caught.value.code) == ("DigestMismatch", Exit.DATA)
    assert not (bench.store / "published").exists()


def test_nothing_to_publish(bench: Bench) -> None:
    with pytest.raises(StageError) as caught:
        run(bench)
    assert (caught.value.reason, caught.value.code) == ("FileNotFound", Exit.NO_INPUT)


def test_a_folder_without_a_manifest_is_replaced(bench: Bench) -> None:
    finish(bench)
    (bench.store / "published").mkdir()
    (bench.store / "published" / "junk").touch()
    run(bench)
    assert contents(bench) == WHOLE
