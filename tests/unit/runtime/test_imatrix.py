"""The importance matrix, with a stand-in for llama-imatrix: made once, kept whole, taken by the levels."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_runtime import methods
from slipway_runtime.contract import NEED_MATRIX
from slipway_runtime.errors import StageError
from slipway_runtime.job import Job
from slipway_runtime.methods._calibration import OWN_TEXT
from slipway_runtime.publish import publish

from .conftest import Bench, write_program

PROGRAM = """\
#!{python}
import sys
from pathlib import Path
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
told = Path(given["--model"]).with_name("behaviour")
behaviour = told.read_text() if told.exists() else ""
print("compute_imatrix: computing over 3 chunks, n_ctx=512", file=sys.stderr)
print("[1]9.1,[2]8.2,", end="", flush=True)
if behaviour == "nan":
    print("nan detected in blk.0.attn_q.weight", file=sys.stderr)
    sys.exit(1)
if behaviour == "fail":
    sys.exit("you need at least 1024 tokens")
text = Path(given["--file"]).read_text()
Path(given["--output-file"]).write_text(f"matrix of {{len(text)}} by {{given['--chunks']}}")
print("[3]8.0,", flush=True)
"""


@pytest.fixture(autouse=True)
def f16(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published f16 artifact as the parent; the program is on PATH."""
    write_program(bench.folder / "bin" / "llama-imatrix", PROGRAM)
    monkeypatch.setenv("PATH", bench.environment["PATH"])
    (bench.parent / "published").mkdir()
    model = bench.parent / "published" / "model.gguf"
    model.write_bytes(b"GGUF f16")
    return model


def job_of(bench: Bench, stage: str = "imatrix", **environment: str) -> Job:
    given = {"SLIPWAY_METHOD": "imatrix", "SLIPWAY_LEVEL": "IMATRIX", **environment}
    return bench.job(stage, SLIPWAY_INPUTS=str(bench.folder / "inputs"), **given)


def calibrate(bench: Bench, name: str, text: str) -> None:
    folder = bench.folder / "inputs" / "calibration" / "published"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_a_matrix_of_the_images_text_is_made_once_and_published(bench: Bench) -> None:
    first = methods.run(job_of(bench))
    made = bench.store / "work" / "model" / "imatrix.gguf"
    assert made.read_text() == f"matrix of {len(OWN_TEXT.read_text())} by 64"
    assert first == {"sizeBytes": made.stat().st_size, "files": 1, "chunks": 64}
    made.stat()
    assert methods.run(job_of(bench)) == {**first, "resumed": True}
    assert '"percent": 100' in bench.out.getvalue()
    assert publish(job_of(bench, "publish"))["files"] == 1
    assert (bench.store / "published" / "imatrix.gguf").is_file()


def test_a_text_of_the_specs_is_taken_and_windows_can_be_fewer(bench: Bench) -> None:
    calibrate(bench, "mine.txt", "12345")
    methods.run(job_of(bench, SLIPWAY_IMATRIX_CHUNKS="7"))
    assert (bench.store / "work" / "model" / "imatrix.gguf").read_text() == "matrix of 5 by 7"


@pytest.mark.parametrize(
    ("behaviour", "reason", "words"),
    [("nan", "InvalidWeights", "no numbers"), ("fail", "MatrixFailed", "at least 1024 tokens")],
)
def test_a_failure_says_why_and_leaves_nothing(
    bench: Bench, f16: Path, behaviour: str, reason: str, words: str
) -> None:
    f16.with_name("behaviour").write_text(behaviour)
    with pytest.raises(StageError) as caught:
        methods.run(job_of(bench))
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert not (bench.store / "work" / "model").exists()


def test_rows_are_no_plain_text(bench: Bench) -> None:
    calibrate(bench, "rows.jsonl", '{"text": "x"}')
    with pytest.raises(StageError, match=r"\.txt") as caught:
        methods.run(job_of(bench))
    assert caught.value.reason == "CalibrationEmpty"


def test_a_level_is_made_with_the_matrix(bench: Bench) -> None:
    folder = bench.folder / "inputs" / "imatrix" / "published"
    folder.mkdir(parents=True)
    (folder / "imatrix.gguf").write_text("the matrix")
    methods.run(job_of(bench, "quantize", SLIPWAY_METHOD="gguf", SLIPWAY_LEVEL="IQ2_M"))
    assert (bench.store / "work" / "model.gguf").read_text() == "the matrix"


@pytest.mark.parametrize("level", NEED_MATRIX)
def test_a_level_that_needs_one_is_not_made_without(bench: Bench, level: str) -> None:
    with pytest.raises(StageError, match="needs an importance matrix") as caught:
        methods.run(job_of(bench, "quantize", SLIPWAY_METHOD="gguf", SLIPWAY_LEVEL=level))
    assert caught.value.reason == "MissingInput"
