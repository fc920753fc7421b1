"""The perplexity stage reads llama-perplexity's own words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from slipway_runtime import files
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.evaluate import perplexity

from .conftest import Bench, write_program

# What llama-perplexity 0.7.0 prints, without the final estimate that it sometimes loses.
SAID = """\
0.00.179.436 I perplexity: calculating perplexity over {chunks} chunks, n_ctx=512, batch_size=512, n_seq=1
0.02.517.939 I perplexity: 2.34 seconds per pass - ETA 0.07 minutes
[1]116.4875,[2]{estimate},
"""
PROGRAM = """\
#!{{python}}
import sys
from pathlib import Path
Path({arguments!r}).write_text(" ".join(sys.argv[1:]))
print({said!r}, file=sys.stderr)
sys.exit({code})
"""


@pytest.fixture
def model(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished model in work."""
    monkeypatch.setenv("PATH", bench.environment["PATH"])
    path = bench.store / "work" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(b"GGUF")
    files.write_json(path.with_name("convert.json"), {"sizeBytes": 4, "sha256": files.sha256_of(path)})
    return path


def say(bench: Bench, said: str, code: int = 0) -> Path:
    """Let llama-perplexity say this; return where its arguments will be."""
    arguments = bench.folder / "arguments"
    text = PROGRAM.format(arguments=str(arguments), said=said, code=code)
    write_program(bench.folder / "bin" / "llama-perplexity", text)
    return arguments


def refuse(bench: Bench) -> StageError:
    with pytest.raises(StageError) as caught:
        perplexity.evaluate(bench.job("evaluate"))
    return caught.value


def test_figures_are_the_tools_own_strings(bench: Bench, model: Path) -> None:
    arguments = say(bench, SAID.format(chunks=2, estimate="89.9114"))
    result = perplexity.evaluate(bench.job("evaluate", SLIPWAY_EVALUATE_CHUNKS="2"))
    assert result["perplexity"] == "89.9114"
    assert result["tokens"] == 1024
    assert float(result["seconds"]) >= 0
    assert result["textDigest"] == f"sha256:{files.sha256_of(perplexity.TEXT)}"
    given = arguments.read_text()
    assert f"--model {model} --ctx-size 512 --threads 1" in given
    assert given.endswith(f"--file {perplexity.TEXT} --chunks 3")
    assert "--check-tensors" in given
    assert '"percent": 50' in bench.out.getvalue()


def test_the_tool_is_stopped_after_the_last_window_that_counts(bench: Bench, model: Path) -> None:
    going_on = "time.sleep(0.3)\nprint('[3]50.0,', flush=True)\ntime.sleep(60)\n"
    text = "#!{python}\nimport time\nprint('[1]116.4875,[2]89.9114,', end='', flush=True)\n" + going_on
    write_program(bench.folder / "bin" / "llama-perplexity", text)
    began = time.monotonic()
    assert perplexity.evaluate(bench.job("evaluate", SLIPWAY_EVALUATE_CHUNKS="2"))["perplexity"] == "89.9114"
    assert time.monotonic() - began < 10


def test_a_short_text_is_measured_whole(bench: Bench, model: Path) -> None:
    say(bench, SAID.format(chunks=2, estimate="89.9114"))
    result = perplexity.evaluate(bench.job("evaluate", SLIPWAY_EVALUATE_CHUNKS="8"))
    assert (result["perplexity"], result["tokens"]) == ("89.9114", 1024)


def test_a_figure_for_fewer_windows_is_no_result(bench: Bench, model: Path) -> None:
    say(bench, SAID.format(chunks=9, estimate="89.9114"))
    error = refuse(bench)
    assert (error.reason, error.code) == ("PerplexityFailed", Exit.INTERNAL)


def test_a_rerun_asks_nothing_unless_the_question_changed(bench: Bench, model: Path) -> None:
    say(bench, SAID.format(chunks=2, estimate="89.9114"))
    first = perplexity.evaluate(bench.job("evaluate"))
    say(bench, SAID.format(chunks=2, estimate="50.0"))
    assert perplexity.evaluate(bench.job("evaluate")) == {**first, "resumed": True}
    again = perplexity.evaluate(bench.job("evaluate", SLIPWAY_EVALUATE_CHUNKS="4"))
    assert again["perplexity"] == "50.0"


def test_a_published_model_can_be_measured_too(bench: Bench, model: Path) -> None:
    published = bench.store / "published"
    published.mkdir()
    model.rename(published / "model.gguf")
    files.write_manifest(published, [files.FileEntry("model.gguf", 4, "0" * 64)], "convert", {})
    model.with_name("convert.json").unlink()
    model.parent.rmdir()
    arguments = say(bench, SAID.format(chunks=2, estimate="9.5"))
    assert perplexity.evaluate(bench.job("evaluate"))["perplexity"] == "9.5"
    assert str(published / "model.gguf") in arguments.read_text()
    assert not model.parent.exists(), "nothing is written into the store of a finished artifact"


@pytest.mark.parametrize("estimate", ["nan", "-nan", "inf"])
def test_no_number_means_broken_weights(bench: Bench, model: Path, estimate: str) -> None:
    say(bench, SAID.format(chunks=2, estimate=estimate))
    error = refuse(bench)
    assert (error.reason, error.code) == ("InvalidWeights", Exit.DATA)


@pytest.mark.parametrize(
    ("said", "reason", "code"),
    [
        ("llama_model_load: error loading model: tensor 'x' has invalid data", "InvalidWeights", Exit.DATA),
        ("llama_model_load: error loading model: unknown architecture", "PerplexityFailed", Exit.DATA),
        ("Illegal instruction", "PerplexityFailed", Exit.INTERNAL),
    ],
)
def test_failures_of_the_tool(bench: Bench, model: Path, said: str, reason: str, code: Exit) -> None:
    say(bench, said, code=1)
    error = refuse(bench)
    assert (error.reason, error.code) == (reason, code)
    assert said in error.message


def test_a_silent_tool_is_a_failed_one(bench: Bench, model: Path) -> None:
    say(bench, "perplexity: nothing to say")
    assert refuse(bench).reason == "PerplexityFailed"


def test_nothing_to_measure(bench: Bench) -> None:
    error = refuse(bench)
    assert (error.reason, error.code) == ("FileNotFound", Exit.NO_INPUT)


def test_the_text_is_the_one_that_its_source_names() -> None:
    digest = files.sha256_of(perplexity.TEXT)
    source = perplexity.TEXT.with_name("SOURCE.md").read_text(encoding="utf-8")
    assert digest in source
    assert "Licence" in source


def test_the_text_is_long_enough_for_all_windows() -> None:
    letters_a_token = 6  # no tokenizer needs fewer than one token for six letters of English prose
    size = perplexity.TEXT.stat().st_size
    assert size / letters_a_token > perplexity.CHUNKS * perplexity.CONTEXT
