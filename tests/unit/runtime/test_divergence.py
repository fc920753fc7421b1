"""Safetensors against the unquantised model: the arithmetic, and what happens where there is none."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from slipway_runtime import files, model_folder
from slipway_runtime.errors import StageError, ToolError
from slipway_runtime.evaluate import causal, divergence
from slipway_runtime.evaluate.question import CONTEXT, SCORED, Question

from .conftest import CONFIG, Bench, build_safetensors

VOCABULARY = 7
WINDOWS = [[(3 * at + number) % VOCABULARY for at in range(CONTEXT)] for number in range(2)]


def rows(sharpness: float, seed: int = 5) -> Any:
    logits = sharpness * np.random.default_rng(seed).standard_normal((SCORED, VOCABULARY)).astype(np.float32)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


class Fake:
    """A model that says the same of every window."""

    vocabulary = VOCABULARY

    def __init__(self, said: Any) -> None:
        self.said = said

    def log_probabilities(self, _window: list[int]) -> causal.Said:
        return causal.Said(self.said)


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A quantised folder in work, its unquantised parent; models that need no torch."""
    folder = bench.store / "work" / "model"
    published = bench.parent / "published"
    for one in (folder, published):
        one.mkdir(parents=True)
        (one / "config.json").write_text(json.dumps(CONFIG))
    (folder / "config.json").write_text(json.dumps(CONFIG | {"quantization_config": {"quant_method": "awq"}}))
    files.write_manifest(published, model_folder.list_entries(published), "fetch", {})
    entries = [entry.__dict__ for entry in model_folder.list_entries(folder)]
    files.write_json(bench.store / "work" / "quantize.json", {"files": entries})
    said = {str(folder): rows(2.0), str(published): rows(1.9)}
    monkeypatch.setattr(causal, "prepare", lambda _: None)
    monkeypatch.setattr(causal, "read_windows", lambda *_: WINDOWS)
    monkeypatch.setattr(causal, "load", lambda folder: Fake(said[str(folder)]))
    return bench


def evaluate(bench: Bench, **environment: str) -> dict[str, Any]:
    return divergence.evaluate(bench.job("evaluate", **environment))


def exact(base: Any, ours: Any) -> float:
    return float((np.exp(base) * (base - ours)).sum(axis=1).mean())


def test_figures_are_those_of_the_definition(bench: Bench) -> None:
    result = evaluate(bench, SLIPWAY_WORK_BYTES="100000")
    ours, base = rows(2.0), rows(1.9)
    nll = np.mean([[-ours[at, window[CONTEXT // 2 + 1 + at]] for at in range(SCORED)] for window in WINDOWS])
    assert float(result["perplexity"]) == pytest.approx(math.exp(nll), rel=1e-5)
    assert float(result["kld"]) == pytest.approx(exact(base, ours), abs=1e-5)
    assert float(result["kldP99"]) > float(result["kld"]) > 0
    assert result["topAgreement"] == "100.000%", "one is the other, sharpened"
    assert result["tokens"] == 2 * CONTEXT
    assert "noBase" not in result
    assert not (bench.store / "work" / "base.logits").exists(), "it goes as soon as it was read"
    assert '"percent": 25' in bench.out.getvalue(), "half of it is the base's"
    assert evaluate(bench)["resumed"] is True


def test_the_same_model_diverges_by_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal, "load", lambda _: Fake(rows(8.0)))
    result = evaluate(bench, SLIPWAY_WORK_BYTES="100000")
    assert float(result["kld"]) < 1e-5
    assert result["perplexity"] == result["basePerplexity"]


def test_without_room_both_perplexities_are_measured_all_the_same(bench: Bench) -> None:
    result = evaluate(bench, SLIPWAY_WORK_BYTES="100")
    assert {"perplexity", "basePerplexity"} <= result.keys()
    assert not {"kld", "topAgreement"} & result.keys()


def test_a_killed_try_left_what_the_base_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []

    def load(folder: Path) -> Fake:
        loaded.append(folder)
        if len(loaded) == 2:
            raise KeyboardInterrupt
        return Fake(rows(1.9 if folder.name == "published" else 2.0))

    monkeypatch.setattr(causal, "load", load)
    with pytest.raises(KeyboardInterrupt):
        evaluate(bench, SLIPWAY_WORK_BYTES="100000")
    assert "kld" in evaluate(bench, SLIPWAY_WORK_BYTES="100000")
    assert [folder.name for folder in loaded] == ["published", "model", "model"]


def test_a_base_that_came_quantised_is_none(bench: Bench) -> None:
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    (bench.parent / "published" / "config.json").write_text(json.dumps(CONFIG | config))
    result = evaluate(bench, SLIPWAY_WORK_BYTES="100000")
    assert result["noBase"] == "the model came quantised (gptq): there is no unquantised one"
    assert "basePerplexity" not in result


def test_a_base_that_does_not_fit_is_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(folder: Path) -> Fake:
        if folder.name == "published":
            raise ToolError("OutOfMemory", "30000 MiB in 16 bits, and the Job may use 8000 MiB")
        return Fake(rows(2.0))

    monkeypatch.setattr(causal, "load", load)
    result = evaluate(bench)
    assert "30000 MiB" in result["noBase"]
    assert "basePerplexity" not in result


def test_options_name_another_base(bench: Bench) -> None:
    options = {"SLIPWAY_OPTIONS": '{"base": "whole"}', "SLIPWAY_INPUTS": str(bench.folder / "inputs")}
    found, why = divergence.find_base(bench.job("evaluate", **options))
    assert found is None
    assert "inputs/whole/published" in why


def test_weights_that_are_no_numbers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = rows(1.0)
    broken[3] = math.nan
    monkeypatch.setattr(causal, "load", lambda _: Fake(broken))
    with pytest.raises(StageError) as caught:
        evaluate(bench)
    assert caught.value.reason == "InvalidWeights"


def test_a_loss_beyond_all_figures_means_broken_weights() -> None:
    with pytest.raises(StageError, match=r"800\.0 nats") as caught:
        divergence.require_perplexity([800.0])
    assert caught.value.reason == "InvalidWeights"


class Full:
    """A file on a disk that has no room for more than its name."""

    def write(self, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        self.write(b"")


def test_a_disk_that_fills_up_costs_the_divergence_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def full(path: Path, mode: str = "r", **given: Any) -> Any:
        return Full() if (path.name, mode) == (".base.logits.tmp", "wb") else opened(path, mode, **given)

    monkeypatch.setattr(Path, "open", full)
    result = evaluate(bench, SLIPWAY_WORK_BYTES="100000")
    assert {"perplexity", "basePerplexity"} <= result.keys()
    assert not {"kld", "topAgreement"} & result.keys()
    assert not list((bench.store / "work").glob("*base*"))


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    wide = np.array([[0.0, -1.25, -15.9, -40.0]] * SCORED, dtype=np.float32)
    with causal.Writer(tmp_path / "base", 4) as writer:
        writer.add(causal.Said(wide - 1))
        writer.add(causal.Said(wide))
    assert (tmp_path / "base").stat().st_size == causal.base_bytes(2, 4)
    read = causal.Reader(tmp_path / "base", 4).rows(1)
    assert np.abs(read - np.maximum(wide, -causal.RANGE)).max() < causal.RANGE / causal.STEPS
    far, equal = causal.Said(wide).against(read)
    assert equal == SCORED
    assert max(far) < 1e-3, "what lies at the range's end counts nothing"


@pytest.mark.parametrize(
    ("limit", "expected"), [(1 << 40, "float32"), (causal.SLACK + 30_000, "bfloat16"), (causal.SLACK, None)]
)
def test_sums_are_exact_where_they_fit(tmp_path: Path, limit: int, expected: str | None) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = build_safetensors({"w": ("BF16", [100, 100], b"\0" * 20_000)})
    (tmp_path / "model.safetensors").write_bytes(weights)
    if expected:
        assert causal.choose_type(tmp_path, limit) == expected
        return
    with pytest.raises(ToolError) as caught:
        causal.choose_type(tmp_path, limit)
    assert caught.value.reason == "OutOfMemory"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [("memory.max", "1000", 1000), ("memory.max", "max", 8 << 20), ("memory/memory.limit_in_bytes", "7", 7)],
)
def test_memory_is_what_the_container_may_use(tmp_path: Path, name: str, text: str, expected: int) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text + "\n")
    (tmp_path / "meminfo").write_text("MemTotal:        8192 kB\n")
    assert causal.memory_limit(tmp_path, tmp_path / "meminfo") == expected


@pytest.mark.parametrize(("first", "begins"), [([1], [1, 1, 1]), ([], [100, 612, 1124])])
def test_windows_are_cut_and_begun_as_llama_cpp_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: list[int], begins: list[int]
) -> None:
    def tokenizer(text: str) -> dict[str, list[int]]:
        return {"input_ids": [*first, *range(100, 100 + len(text))]}

    tokenizer.bos_token_id = 1  # type: ignore[attr-defined]
    fake = SimpleNamespace(AutoTokenizer=SimpleNamespace(from_pretrained=lambda *_, **__: tokenizer))
    monkeypatch.setitem(sys.modules, "transformers", fake)
    text = tmp_path / "text"
    text.write_text("x" * (4 * CONTEXT - 1))
    windows = causal.read_windows(tmp_path, Question(text, "sha256:0", 3))
    assert [window[0] for window in windows] == begins
    assert all(len(window) == CONTEXT for window in windows)
    assert windows[1][1] == 100 + CONTEXT + 1 - len(first)
    assert len(causal.read_windows(tmp_path, Question(text, "sha256:0", 9))) == (4 if first else 3)
    text.write_text("x" * 9)
    with pytest.raises(StageError) as caught:
        causal.read_windows(tmp_path, Question(text, "sha256:0", 3))
    assert "fewer than one window" in caught.value.message
