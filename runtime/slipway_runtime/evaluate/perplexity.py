"""The stage evaluate: perplexity on the image's own text, by llama-perplexity. Called by stage.py."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from slipway_runtime import files
from slipway_runtime.artifact import find_model
from slipway_runtime.cpus import thread_count
from slipway_runtime.errors import DataError, StageError, ToolError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.tool import Enough, Outcome, find_program, run_tool

TEXT = Path(__file__).with_name("text") / "text.txt"
"""Its source and licence are in SOURCE.md beside it."""
CONTEXT = 512
"""Tokens of a window: llama.cpp's own default, so that figures compare with published ones."""
CHUNKS = 8
"""Windows measured. Each costs 2 s for 135 million f16 weights on two cores; f16 and its levels must use the
same number."""
CHUNK = re.compile(r"\s*\[(\d+)\](\S+)")
TOTAL = re.compile(r"perplexity: calculating perplexity over (\d+) chunks")
INVALID = re.compile(r"(invalid values|invalid data|has invalid|found nan|found inf)", re.IGNORECASE)


def evaluate(job: Job) -> dict[str, Any]:
    """Measure the perplexity of this artifact's model.

    Returns:
        ``{"perplexity", "tokens", "seconds", "textDigest"}``: figures as strings, tokens read (the second
        half of each window is scored), and the sha256 of the text; plus ``"resumed"`` when it was measured
        before.
    """
    model, sha256 = find_model(job)
    chunks = max(1, job.number("SLIPWAY_EVALUATE_CHUNKS", CHUNKS))
    text = Path(job.environment.get("SLIPWAY_EVALUATE_TEXT") or TEXT)
    digest = f"sha256:{files.sha256_of(files.require_file(text, 'the build of the image'))}"
    question = {"model": sha256, "text": digest, "chunks": chunks}
    record = files.read_json(job.work / "evaluate.json")
    if record is not None and record["question"] == question:
        return {**record["answer"], "resumed": True}
    began = job.progress.clock()
    measured = measure(job, model, text, chunks)
    answer = {**measured, "seconds": f"{job.progress.clock() - began:.1f}", "textDigest": digest}
    if model.parent == job.work:  # a published artifact has no work folder any more
        with files.full_disk_as_store_full(job.store):
            files.write_json(job.work / "evaluate.json", {"question": question, "answer": answer})
    return answer


def measure(job: Job, model: Path, text: Path, chunks: int) -> dict[str, Any]:
    """Return perplexity and tokens read; StageError when the model is broken or the tool fails.

    The tool prints the perplexity over all windows so far after each: ``[1]9.2,[2]11.4,…``. The figure after
    the last window is its final estimate. It prints from a thread that its exit does not always wait for
    (seen with 0.7.0: code 0 without the last lines), so it is given one window more than needed, and stopped
    in time.
    """
    windows = chunks
    figure = ""

    def on_line(line: str) -> None:
        nonlocal windows, figure
        if match := TOTAL.search(line):
            windows = min(chunks, int(match[1]))  # of a shorter text, all
            LOGGER.info("%d windows of %d tokens", windows, CONTEXT)
        elif match := CHUNK.match(line):
            job.progress.report(int(match[1]), windows)
            if int(match[1]) == windows:
                figure = match[2]
            if int(match[1]) == chunks:
                raise Enough

    outcome = run_tool(build_command(job, model, text, chunks + 1), on_line, line_ends=b"\r\n,")
    if outcome.code != 0 or not figure:
        raise explain(outcome)
    return {"perplexity": require_number(figure), "tokens": windows * CONTEXT}


def build_command(job: Job, model: Path, text: Path, chunks: int) -> list[str]:
    """Return llama-perplexity's command line."""
    command = [
        *(find_program("llama-perplexity"), "--model", model, "--file", text),
        *("--ctx-size", CONTEXT, "--chunks", chunks, "--threads", thread_count(job.environment)),
        # One window at a time: logits of a large vocabulary take 300 MB for each. Checked: NaN would only
        # show as a figure.
        *("--batch-size", CONTEXT, "--check-tensors", "--no-warmup"),
    ]
    return [str(part) for part in command]


def require_number(figure: str) -> str:
    """Return the figure as the tool printed it; DataError when it is no number."""
    try:
        finite = math.isfinite(float(figure))
    except ValueError:
        finite = False
    if not finite:
        raise DataError(
            "InvalidWeights",
            f"the model's perplexity is {figure}: its weights are damaged, or overflow in 16 bits",
        )
    return figure


def explain(outcome: Outcome) -> StageError:
    """Return the StageError for a llama-perplexity that gave no estimate."""
    words = outcome.last_words
    if any(INVALID.search(line) for line in outcome.lines):
        return DataError("InvalidWeights", f"the model has weights that are no numbers:\n{words}")
    if any("failed to load model" in line or "error loading model" in line for line in outcome.lines):
        return DataError("PerplexityFailed", f"llama.cpp can't load the model:\n{words}")
    return ToolError(
        "PerplexityFailed", f"llama-perplexity ended with code {outcome.code}. Its last words:\n{words}"
    )
