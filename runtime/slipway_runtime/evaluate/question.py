"""What is asked of a model: text, windows, and answers that a killed try left. For every measure here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_runtime import files
from slipway_runtime.job import Job

TEXT = Path(__file__).with_name("text") / "text.txt"
"""Its source and licence are in SOURCE.md beside it."""
CONTEXT = 512
"""Tokens of a window: llama.cpp's own default, so that figures compare with published ones."""
SCORED = CONTEXT - 1 - CONTEXT // 2
"""Tokens of a window that are scored: the second half, each with at least half a window before it."""
CHUNKS = 8
"""Windows measured. Each costs 2 s for 135 million f16 weights on two cores; f16 and its levels must use the
same number."""


@dataclass(frozen=True)
class Question:
    """What two models must share for their figures to compare.

    Attributes:
        text: file that is read.
        digest: ``sha256:`` and the sha256 of the text.
        chunks: windows to measure.
    """

    text: Path
    digest: str
    chunks: int

    def of(self, model: str) -> dict[str, Any]:
        """The question to the model of this digest, as records hold it."""
        return {"model": model, "text": self.digest, "chunks": self.chunks}


def read_question(job: Job) -> Question:
    """Return the job's question: the image's text and ``CHUNKS`` windows, unless the environment differs."""
    text = Path(job.environment.get("SLIPWAY_EVALUATE_TEXT") or TEXT)
    digest = f"sha256:{files.sha256_of(files.require_file(text, 'the build of the image'))}"
    return Question(text, digest, max(1, job.number("SLIPWAY_EVALUATE_CHUNKS", CHUNKS)))


def answered(
    job: Job, question: Question, model: str, measure: Callable[[], dict[str, Any]], *, keep: bool
) -> dict[str, Any]:
    """Return the answer of an earlier try to the same question, else that of ``measure``.

    Args:
        job: the stage.
        question: what is asked.
        model: sha256 of what is measured.
        measure: returns figures as strings, and ``tokens``.
        keep: write the answer down; a published artifact has no work folder any more.

    Returns:
        The figures with ``"seconds"`` and ``"textDigest"``, plus ``"resumed"`` when they were there.
    """
    path = job.work / "evaluate.json"
    record = files.read_json(path)
    if record is not None and record["question"] == question.of(model):
        return {**record["answer"], "resumed": True}
    began = job.progress.clock()
    measured = measure()
    seconds = f"{job.progress.clock() - began:.1f}"
    answer = {**measured, "seconds": seconds, "textDigest": question.digest}
    if keep:
        with files.full_disk_as_store_full(job.store):
            files.write_json(path, {"question": question.of(model), "answer": answer})
    return answer
