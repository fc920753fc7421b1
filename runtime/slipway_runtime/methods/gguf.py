"""GGUF, llama.cpp's format: convert with its converter, quantize with llama-quantize."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from slipway_runtime import contract, files
from slipway_runtime.artifact import MODEL, make_model
from slipway_runtime.cpus import thread_count
from slipway_runtime.errors import DataError, RequestError, StageError, ToolError
from slipway_runtime.job import Job
from slipway_runtime.llamacpp import OFFLINE, converter
from slipway_runtime.tool import Outcome, find_program, run_tool
from slipway_runtime.weights import CONFIG, check_weights

NAME = "gguf"
LEVELS = contract.LEVELS
STAGE = "quantize"
FORM = "gguf"
IMAGE = "runtime"
GPU = False
OUTPUT_TYPES = {"BF16": "bf16"}
"""The converter's name of a 16-bit level; everything else starts from f16."""
TENSOR = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")
"""llama-quantize's line for each tensor: ``[  12/ 272] blk.0.attn_k.weight - …``."""
WRITTEN = re.compile(r"llama_model_quantize_impl: quant size")
"""What llama-quantize says when its file is closed; it then frees its memory, which takes a while."""
FLUSH_SECONDS = 0.5
"""How often what is written goes to the disk meanwhile: the last flush need not wait for the whole file."""
OUR_FAULT = re.compile(r"(ModuleNotFoundError|ImportError|error while loading shared libraries)")
MEMORY = re.compile(r"(MemoryError|std::bad_alloc|failed to allocate|Cannot allocate memory)")


def convert(job: Job) -> dict[str, Any]:
    """Turn ``/parent/published`` into ``/store/work/model.gguf`` with 16-bit weights.

    Returns:
        ``{"sizeBytes", "sha256"}``, plus ``"resumed"``.
    """
    folder = job.parent_published
    files.require_file(folder / CONFIG, "fetch of the source artifact")
    output_type = OUTPUT_TYPES.get(job.level, "f16")
    total = job.expected_bytes or converted_bytes(folder)

    def make(target: Path) -> files.Hashing | None:
        command: list[str | Path] = [
            *converter(job.environment),
            folder,
            "--outtype",
            output_type,
            "--outfile",
            target,
        ]
        with job.progress.sampling(lambda: _size(target), total):
            outcome = run_tool(command, environment=OFFLINE)
        require_success("ConversionFailed", "llama.cpp's converter", outcome, target, job)
        return None

    return make_model(job, total, make)


def quantize(job: Job) -> dict[str, Any]:
    """Turn ``/parent/published/model.gguf`` into ``/store/work/model.gguf`` at the job's level.

    An importance matrix is the input ``imatrix``.

    Returns:
        ``{"sizeBytes", "sha256"}``, plus ``"resumed"``.

    Raises:
        RequestError: MissingInput, the level needs a matrix and there is none.
    """
    source = files.require_file(job.parent_published / MODEL, "publish of the f16 artifact")
    matrix = _matrix(job)

    def make(target: Path) -> files.Hashing | None:
        flushed = job.progress.clock()
        hashing: files.Hashing | None = None

        def on_line(line: str) -> None:
            nonlocal flushed, hashing
            if WRITTEN.match(line) and target.exists():
                hashing = files.Hashing(target)
            elif match := TENSOR.match(line):
                job.progress.report(int(match[1]) - 1, int(match[2]))
                if job.progress.clock() - flushed > FLUSH_SECONDS and target.exists():
                    files.sync(target)
                    flushed = job.progress.clock()

        threads = thread_count(job.environment)
        how: list[str | Path] = [source, target, job.level, str(threads)]
        outcome = run_tool([find_program("llama-quantize"), *matrix, *how], on_line)
        require_success("QuantizationFailed", "llama-quantize", outcome, target, job)
        job.progress.report(1, 1)
        return hashing

    return make_model(job, job.expected_bytes, make)


def _matrix(job: Job) -> list[str | Path]:
    """Arguments that name the importance matrix; none where there is none."""
    path = job.input_published("imatrix") / "imatrix.gguf"
    if path.is_file():
        return ["--imatrix", path]
    if job.level in contract.NEED_MATRIX:
        raise RequestError(
            "MissingInput", f"{job.level} needs an importance matrix, and {path} does not exist"
        )
    return []


def converted_bytes(folder: Path) -> int:
    """Return about how large the 16-bit file will be: two bytes for each weight of the safetensors."""
    weights = (check_weights(path) for path in folder.glob("model*.safetensors"))
    return sum(2 * sum(header.parameters.values()) for header in weights)


def require_success(reason: str, tool: str, outcome: Outcome, target: Path, job: Job) -> None:
    """Raise what a tool's exit code and last words stand for, unless it made its file."""
    if outcome.code == 0 and target.is_file():
        return
    raise explain(reason, tool, outcome, job)


def explain(reason: str, tool: str, outcome: Outcome, job: Job) -> StageError:
    """Return the StageError for a tool that failed: our store, our image, the memory, or the model."""
    words = outcome.last_words
    if outcome.disk_was_full:
        return files.store_full(job.store)
    if OUR_FAULT.search(words):
        return ToolError("ToolMissing", f"{tool} can't start in this image:\n{words}")
    if MEMORY.search(words):
        return ToolError(
            "OutOfMemory", f"{tool} ran out of memory: give the Job more. Its last words:\n{words}"
        )
    if outcome.code < 0:
        return ToolError(reason, f"{tool} crashed with signal {-outcome.code}. Its last words:\n{words}")
    return DataError(reason, f"{tool} ended with code {outcome.code}. Its last words:\n{words}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
