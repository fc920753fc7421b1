"""The importance matrix of a 16-bit GGUF file, by llama-imatrix: which weights matter. Levels share it.

An artifact of its own, as it takes far longer than a level, and is the same for all.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from slipway_runtime import contract, files
from slipway_runtime.artifact import MODEL
from slipway_runtime.cpus import thread_count
from slipway_runtime.errors import DataError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.methods import _calibration as calibration
from slipway_runtime.methods.gguf import explain
from slipway_runtime.model_folder import make_folder
from slipway_runtime.tool import find_program, run_tool

NAME = "imatrix"
LEVELS = (contract.MATRIX,)
STAGE = "imatrix"
FORM = "data"
IMAGE = "runtime"
GPU = False
FILE = "imatrix.gguf"
CONTEXT = 512
"""Tokens of a window, llama-imatrix's own default."""
CHUNKS = 64
"""Windows that are run through the model: 32,768 tokens. Each costs about 2 s for 135 million weights on two
cores, and a matrix counts inputs of layers, not of words: more text changes little."""
CHUNK = re.compile(r"\s*\[(\d+)\]\S+")
TOTAL = re.compile(r"computing over (\d+) chunks")
NO_NUMBER = re.compile(r"(nan detected|inf detected|invalid data)", re.IGNORECASE)


def imatrix(job: Job) -> dict[str, Any]:
    """Measure ``/parent/published/model.gguf`` on the calibration text, into ``imatrix.gguf``.

    Returns:
        ``{"sizeBytes", "files", "chunks"}``, plus ``"resumed"``.

    Raises:
        DataError: MatrixFailed, CalibrationEmpty, or InvalidWeights where the model computes no numbers.
    """
    model = files.require_file(job.parent_published / MODEL, "publish of the f16 artifact")
    windows = max(1, job.number("SLIPWAY_IMATRIX_CHUNKS", CHUNKS))
    return {**make_folder(job, job.expected_bytes, partial(_make, job, model, windows)), "chunks": windows}


def _make(job: Job, model: Path, windows: int, target: Path) -> None:
    (path,) = _plain(job)
    total = windows

    def on_line(line: str) -> None:
        nonlocal total
        if match := TOTAL.search(line):
            total = int(match[1])
            LOGGER.info("%d windows of %d tokens", total, CONTEXT)
        elif match := CHUNK.match(line):
            job.progress.report(int(match[1]), total)

    made = target / FILE
    outcome = run_tool(build_command(job, model, path, made, windows), on_line, line_ends=b"\r\n,")
    if any(NO_NUMBER.search(line) for line in outcome.lines):
        raise DataError("InvalidWeights", f"the model computes no numbers:\n{outcome.last_words}")
    if outcome.code != 0 or not made.is_file():
        raise explain("MatrixFailed", "llama-imatrix", outcome, job)
    job.progress.report(1, 1)


def build_command(job: Job, model: Path, text: Path, target: Path, windows: int) -> list[str]:
    """Return llama-imatrix's command line."""
    command = [
        *(find_program("llama-imatrix"), "--model", model, "--file", text, "--output-file", target),
        *("--ctx-size", CONTEXT, "--batch-size", CONTEXT, "--chunks", windows),
        *("--threads", thread_count(job.environment), "--output-frequency", windows),
    ]
    return [str(part) for part in command]


def _plain(job: Job) -> list[Path]:
    """The one file of text that the tool reads."""
    found = calibration.calibration_files(job)
    if len(found) != 1 or found[0].suffix != ".txt":
        raise DataError(
            "CalibrationEmpty", "an importance matrix is measured on one file of plain text (.txt)"
        )
    return found
