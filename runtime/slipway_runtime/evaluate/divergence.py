"""Safetensors: perplexity and KL divergence by transformers, in llama.cpp's windows. Called by ``evaluate``.

The unquantised model is read first and what it said is kept in the work folder; then it makes room for ours,
so that two models never lie in memory at once. Weights that are stored in fewer bits are computed with after
they were unpacked, and activations are rounded as the format says: that is what an engine's kernels do, up to
the order of sums.
"""

from __future__ import annotations

import gc
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway_runtime import files, model_folder
from slipway_runtime.contract import MANIFEST
from slipway_runtime.cpus import thread_count
from slipway_runtime.errors import DataError, StageError
from slipway_runtime.evaluate import base as bases
from slipway_runtime.evaluate.question import CONTEXT, SCORED, Question, answered, read_question
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER

if TYPE_CHECKING:
    from slipway_runtime.evaluate.base import Base
    from slipway_runtime.evaluate.causal import Causal
BASE_OPTION = "base"
"""Option of a recipe: name of the input that the loss is taken against, instead of the parent."""


def evaluate(job: Job) -> dict[str, Any]:
    """Measure this artifact's folder against the unquantised model that it was made of.

    Returns:
        ``{"perplexity", "tokens", "seconds", "textDigest"}`` as of a GGUF file; where the unquantised model
        could be read, ``"basePerplexity"``, and where there was room for what it said, ``"kld"``,
        ``"kldP99"`` (nats a token) and ``"topAgreement"``; ``"noBase"``, why it could not.
    """
    folder, entries = model_folder.find_folder(job)
    identity = _digest("".join(f"{one.path}:{one.sha256}\n" for one in entries))
    question = read_question(job)

    def measure() -> dict[str, Any]:
        with files.full_disk_as_store_full(job.store):
            return _measure(job, folder, question)

    answer = answered(job, question, identity, measure, keep=folder.parent == job.work)
    for leftover in (job.work / bases.LOGITS, job.work / "base.json"):
        leftover.unlink(missing_ok=True)
    return answer


def _measure(job: Job, folder: Path, question: Question) -> dict[str, Any]:
    from slipway_runtime.evaluate import causal

    causal.prepare(thread_count(job.environment))
    tokens = causal.read_windows(folder, question)
    windows = len(tokens)
    against, no_base = find_base(job)
    base = None
    if against is not None:
        try:
            base = _base(job, against, question, tokens)
        except StageError as error:
            if error.reason not in ("OutOfMemory", "PerplexityFailed"):
                raise
            no_base = f"the unquantised model can't be read here: {error.message}"
        gc.collect()  # modules and their hooks hold each other
    model = causal.load(folder)
    figures = _compare(job, model, base, tokens)
    return {**figures, "tokens": windows * CONTEXT, **({"noBase": no_base[:300]} if no_base else {})}


def find_base(job: Job) -> tuple[Path | None, str]:
    """Return the folder that the loss is taken against, or None and why there is none."""
    from slipway_runtime import quantised
    from slipway_runtime.weights import CONFIG

    name = job.options().get(BASE_OPTION, "")
    folder = job.input_published(name) if name else job.parent_published
    config = files.read_json(folder / CONFIG)
    if config is None:
        return None, f"{folder} holds no model in safetensors"
    found = quantised.method(config, files.read_json(folder / quantised.MODELOPT))
    return (
        (None, f"the model came quantised ({found}): there is no unquantised one") if found else (folder, "")
    )


def _base(job: Job, folder: Path, question: Question, tokens: list[list[int]]) -> Base:
    """The base's answers: those of a killed try, or by running it now."""
    from slipway_runtime.evaluate import causal

    identity = _digest((folder / MANIFEST).read_text(encoding="utf-8"))
    kept = bases.read_base(job.work, question, identity)
    if kept is not None:
        return kept
    model = causal.load(folder)
    temporary = job.work / f".{bases.LOGITS}.tmp"
    temporary.parent.mkdir(parents=True, exist_ok=True)
    room = bases.has_room(job, causal.base_bytes(len(tokens), model.vocabulary))
    losses: list[float] = []
    with causal.Writer(temporary if room else None, model.vocabulary) as writer:
        for number, window in enumerate(tokens):
            said = model.log_probabilities(window)
            losses += said.losses(window)
            writer.add(said)
            job.progress.report(number + 1, 2 * len(tokens))
    temporary.touch()
    perplexity = require_perplexity(losses)
    return bases.write_base(
        job.work,
        temporary,
        question.of(identity),
        perplexity,
        vocabulary=model.vocabulary,
        whole=writer.writes,
    )


def _compare(job: Job, model: Causal, base: Base | None, tokens: list[list[int]]) -> dict[str, Any]:
    from slipway_runtime.evaluate import causal

    same = base is not None and base.record["whole"] and base.record["vocabulary"] == model.vocabulary
    reader = causal.Reader(base.path, model.vocabulary) if base is not None and same else None
    losses: list[float] = []
    divergences: list[float] = []
    agreed = 0
    for number, window in enumerate(tokens):
        said = model.log_probabilities(window)
        losses += said.losses(window)
        if reader is not None:
            far, equal = said.against(reader.rows(number))
            divergences += far
            agreed += equal
        job.progress.report(len(tokens) + number + 1, 2 * len(tokens))
    figures = {"perplexity": require_perplexity(losses)}
    if base is not None:
        figures["basePerplexity"] = base.perplexity
    if divergences:
        figures |= causal.summary(divergences)
        figures["topAgreement"] = f"{100 * agreed / len(divergences):.3f}%"
    return figures


def require_perplexity(losses: list[float]) -> str:
    """Return the perplexity of these losses, nats a token; DataError when it is no number."""
    mean = math.fsum(losses) / len(losses)
    try:
        figure = math.exp(mean)
    except OverflowError:
        figure = math.inf
    if not math.isfinite(figure):
        raise DataError(
            "InvalidWeights",
            f"the model's loss is {mean} nats a token: its weights are damaged, or overflow in 16 bits",
        )
    LOGGER.info("%d tokens scored, %d a window", len(losses), SCORED)
    return f"{figure:.4f}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
