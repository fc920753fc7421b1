"""What the unquantised model said, kept on disk: log-probabilities of every scored token, 16 bits each.

``FOLDER/base.logits`` with its record ``FOLDER/base.json``, which names model, text and windows: whoever asks
the same question reads it by its digest instead of running the model again. Called by the measures here.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_runtime import files
from slipway_runtime.evaluate.question import Question
from slipway_runtime.files import FileEntry
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER

LOGITS = "base.logits"
FOLDER = "evaluate"
"""Of a claim, beside ``published``: for the levels that are made of this artifact."""


@dataclass(frozen=True)
class Base:
    """The unquantised model's answers.

    Attributes:
        path: log-probabilities, in the form of who wrote them.
        perplexity: of the model.
        record: what else was written down.
    """

    path: Path
    perplexity: str
    record: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return int(self.record["bytes"])


def write_base(folder: Path, temporary: Path, question: dict[str, Any], perplexity: str, **more: Any) -> Base:
    """Keep a file that was just written: only with its record does it count."""
    digest, size = files.sha256_of(temporary), temporary.stat().st_size
    files.commit(temporary, folder / LOGITS)
    record = {"question": question, "sha256": digest, "bytes": size, "perplexity": perplexity, **more}
    files.write_json(_record(folder), record)
    return Base(folder / LOGITS, perplexity, record)


def read_base(folder: Path, question: Question, model: str = "") -> Base | None:
    """Return the whole base that answers this question, of this model if one is named; else None."""
    record = files.read_json(_record(folder))
    if record is None:
        return None
    asked = record["question"]
    same = asked == question.of(model or str(asked["model"]))
    if not same or not files.is_whole(folder / LOGITS, FileEntry(LOGITS, record["bytes"], record["sha256"])):
        LOGGER.warning("%s is damaged or answers another question: not used", folder / LOGITS)
        return None
    return Base(folder / LOGITS, str(record["perplexity"]), record)


def remove_base(folder: Path) -> None:
    """Remove what is kept here, whole or not: without a record it would only take room."""
    files.clear_temporary(folder)
    for path in (_record(folder), folder / LOGITS):
        path.unlink(missing_ok=True)


def has_room(job: Job, needed: int) -> bool:
    """Whether the claim was planned to keep a base of so many bytes, and has them free.

    Without it only the divergence is missing: no reason for a stage to fail.
    """
    planned, free = job.number("SLIPWAY_WORK_BYTES", 0), shutil.disk_usage(job.store).free
    if min(planned, free) < needed:
        LOGGER.warning(
            "no room for log-probabilities: %d bytes are needed, %d planned and %d free: no KL divergence",
            *(needed, planned, free),
        )
        return False
    return True


def _record(folder: Path) -> Path:
    return folder / "base.json"
