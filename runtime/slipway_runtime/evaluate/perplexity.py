"""GGUF: perplexity and KL divergence by llama-perplexity. Called by ``evaluate``.

The f16 artifact keeps what it said beside its published folder, where its claim has room; each level made of
it is read once, and compared with that.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from slipway_runtime import files
from slipway_runtime.artifact import find_model
from slipway_runtime.cpus import thread_count
from slipway_runtime.errors import DataError, StageError, StoreFullError, ToolError
from slipway_runtime.evaluate import base as bases
from slipway_runtime.evaluate.base import Base
from slipway_runtime.evaluate.question import CHUNKS, CONTEXT, TEXT, Question, answered, read_question
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.tool import Enough, Outcome, find_program, run_tool

__all__ = ["CHUNKS", "CONTEXT", "TEXT", "evaluate", "explain", "require_number"]
CHUNK = re.compile(r"\s*\[(\d+)\](\S+)")
ROW = re.compile(r"\s*(\d+)\s+\S+ ±")
"""A window's line of the comparison: number, perplexity so far, …"""
TOTAL = re.compile(r"(?:calculating perplexity|computing) over (\d+) chunks")
INVALID = re.compile(r"(invalid values|invalid data|has invalid|found nan|found inf)", re.IGNORECASE)
STATISTICS = {
    "perplexity": re.compile(r"Mean PPL\(Q\)\s*:\s*(\S+)"),
    "kld": re.compile(r"Mean\s+KLD:\s*(\S+)"),
    "kldP99": re.compile(r"99\.0%\s+KLD:\s*(\S+)"),
    "topAgreement": re.compile(r"Same top p:\s*(\S+)"),
}
"""What the comparison says at its end."""
TRIES = 3
"""The tool prints from a thread that its exit does not always wait for (seen with 0.7.0: code 0 without the
last lines): what is lost is asked again."""


def evaluate(job: Job) -> dict[str, Any]:
    """Measure this artifact's GGUF file, against the f16 that it was made of where that kept its answers.

    Returns:
        ``{"perplexity", "tokens", "seconds", "textDigest"}``: figures as strings, tokens read (the second
        half of each window is scored), and the sha256 of the text; ``"baseBytes"`` of an f16 that kept its
        answers; of a level compared with them ``"basePerplexity"``, ``"kld"`` and ``"kldP99"`` (mean and 99th
        percentile of the KL divergence, nats a token), ``"topAgreement"`` (percent of tokens whose likeliest
        is the same); ``"resumed"`` when it was measured before.
    """
    model, sha256 = find_model(job)
    question = read_question(job)

    def measure() -> dict[str, Any]:
        with files.full_disk_as_store_full(job.store):
            return _measure(job, model, question, sha256)

    return answered(job, question, sha256, measure, keep=model.parent == job.work)


def _measure(job: Job, model: Path, question: Question, sha256: str) -> dict[str, Any]:
    planned = job.number("SLIPWAY_WORK_BYTES", 0)
    own = job.store / bases.FOLDER
    if planned:
        kept = bases.read_base(own, question, sha256)  # first: it takes itself the room that is asked for
        if kept is not None:
            return _figures(kept)
        bases.remove_base(own)
        if bases.has_room(job, planned):
            try:
                with files.full_disk_as_store_full(job.store):
                    return _figures(measure_base(job, model, question, sha256))
            except StoreFullError as error:
                bases.remove_base(own)
                LOGGER.warning("log-probabilities were begun and are given up: %s", error.message)
    base = bases.read_base(job.parent / bases.FOLDER, question)
    return compare(job, model, base) if base else measure(job, model, question)


def measure(job: Job, model: Path, question: Question) -> dict[str, Any]:
    """Return perplexity and tokens read; StageError when the model is broken or the tool fails.

    The tool prints the perplexity over all windows so far after each: ``[1]9.2,[2]11.4,…``. The figure after
    the last window is its final estimate. It is given one window more than needed, and stopped in time.
    """
    figure, windows, outcome = _run(job, model, question, question.chunks + 1)
    if outcome.code != 0 or not figure:
        raise explain(outcome)
    return {"perplexity": require_number(figure), "tokens": windows * CONTEXT}


def measure_base(job: Job, model: Path, question: Question, sha256: str) -> Base:
    """The same, keeping what the model said of each scored token: ``/store/evaluate/base.logits``."""
    folder = job.store / bases.FOLDER
    folder.mkdir(exist_ok=True)
    temporary = folder / f".{bases.LOGITS}.tmp"
    for _ in range(TRIES):
        figure, windows, outcome = _run(job, model, question, question.chunks, keep=temporary)
        if outcome.code != 0 or figure:
            break
        LOGGER.warning("llama-perplexity ended without its last lines: once more")
    if outcome.code != 0 or not figure:
        temporary.unlink(missing_ok=True)
        raise files.store_full(job.store) if outcome.disk_was_full else explain(outcome)
    tokens = windows * CONTEXT
    return bases.write_base(folder, temporary, question.of(sha256), require_number(figure), tokens=tokens)


def _figures(base: Base) -> dict[str, Any]:
    return {"perplexity": base.perplexity, "tokens": base.record["tokens"], "baseBytes": base.size}


def compare(job: Job, model: Path, base: Base) -> dict[str, Any]:
    """Return perplexity and divergence of a level from what its f16 said of the same tokens."""
    windows = base.record["tokens"] // CONTEXT
    found: dict[str, str] = {}

    def on_line(line: str) -> None:
        if match := ROW.match(line):
            job.progress.report(int(match[1]), windows)
        for name, pattern in STATISTICS.items():
            if match := pattern.search(line):
                found[name] = match[1]

    command = [*_command(job, model), "--kl-divergence", "--kl-divergence-base", str(base.path)]
    for _ in range(TRIES):
        outcome = run_tool(command, on_line)
        if outcome.code != 0 or len(found) == len(STATISTICS):
            break
        LOGGER.warning("llama-perplexity ended without its last lines: once more")
    if outcome.code != 0 or len(found) < len(STATISTICS):
        raise explain(outcome)
    figures = {name: require_number(figure) for name, figure in found.items()}
    figures["topAgreement"] += "%"
    return {**figures, "basePerplexity": base.perplexity, "tokens": base.record["tokens"]}


def _run(
    job: Job, model: Path, question: Question, chunks: int, keep: Path | None = None
) -> tuple[str, int, Outcome]:
    """Return the figure after the last window that counts, the number of windows, and how the tool ended."""
    windows, figure = question.chunks, ""

    def on_line(line: str) -> None:
        nonlocal windows, figure
        if match := TOTAL.search(line):
            windows = min(question.chunks, int(match[1]))  # of a shorter text, all
            LOGGER.info("%d windows of %d tokens", windows, CONTEXT)
        elif match := CHUNK.match(line):
            job.progress.report(int(match[1]), windows)
            if int(match[1]) == windows:
                figure = match[2]
            if int(match[1]) == question.chunks and keep is None:
                raise Enough

    command = [*_command(job, model), "--file", str(question.text), "--chunks", str(chunks)]
    if keep is not None:
        command += ["--kl-divergence-base", str(keep)]
    outcome = run_tool(command, on_line, line_ends=b"\r\n,")
    return figure, windows, outcome


def _command(job: Job, model: Path) -> list[str]:
    """llama-perplexity's command line, but for what it reads."""
    command = [
        *(find_program("llama-perplexity"), "--model", model),
        *("--ctx-size", CONTEXT, "--threads", thread_count(job.environment)),
        # One window at a time: logits of a large vocabulary take 300 MB for each. Checked: NaN would only
        # show as a figure.
        *("--batch-size", CONTEXT, "--check-tensors", "--no-warmup"),
    ]
    return [str(part) for part in command]


def require_number(figure: str) -> str:
    """Return the figure as the tool printed it; DataError when it is no number."""
    try:
        finite = math.isfinite(float(figure.rstrip("%")))
    except ValueError:
        finite = False
    if not finite:
        raise DataError(
            "InvalidWeights",
            f"a figure of the model is {figure}: its weights are damaged, or overflow in 16 bits",
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
