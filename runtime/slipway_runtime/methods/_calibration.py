"""The text that a method calibrates on: the spec's own, else the image's. Called by ``_compressed``.

Files of the input ``calibration``: ``.txt``, ``.jsonl`` with ``text`` or ``messages`` in each line,
``.parquet`` with a column of that name.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from slipway_runtime import files
from slipway_runtime.errors import DataError
from slipway_runtime.job import Job

INPUT: Final = "calibration"
OWN_TEXT: Final = Path(__file__).with_name("text") / "calibration.txt"
"""Its source and licence are in SOURCE.md beside it; no line of it is in the text that evaluate reads."""
CHARACTERS: Final = 4
"""Of plain text for each token of a sample: about what a token of English has, so that few are cut off."""
SEED: Final = 0
Row = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a conversation."""


def calibration_files(job: Job) -> list[Path]:
    """Return what is read, ordered by path; DataError CalibrationEmpty when the input has no such file."""
    folder = job.input_published(INPUT)
    if not folder.is_dir():
        return [OWN_TEXT]
    found = sorted(path for path in folder.rglob("*") if path.suffix in READERS and path.is_file())
    if not found:
        raise DataError(
            "CalibrationEmpty",
            f"the calibration source holds no {', '.join(READERS)}: name one that does in "
            "spec.optimize.calibration.source, or drop it for the text of the image",
        )
    return found


def sample_rows(paths: Sequence[Path], count: int, tokens: int) -> list[Row]:
    """Return ``count`` rows of all files, each as likely as any other; the same ones each time.

    Args:
        paths: of ``calibration_files``.
        count: of rows; fewer when there are no more.
        tokens: of a sample: plain text is cut into rows of about so many.

    Raises:
        DataError: CalibrationUnreadable for a file that is not what its name says.
    """
    chance = random.Random(SEED)  # noqa: S311 - a sample, no secret
    kept: list[tuple[int, Row]] = []
    for number, row in enumerate(_rows(paths, tokens)):
        if len(kept) < count:
            kept.append((number, row))
        elif (place := chance.randrange(number + 1)) < count:
            kept[place] = (number, row)
    return [row for _, row in sorted(kept, key=lambda one: one[0])]


def tokenised(
    rows: Sequence[Row], encode: Callable[[str], list[int]], chat: Callable[[Row], str], tokens: int
) -> list[list[int]]:
    """Return the samples as token numbers, cut to ``tokens``.

    Args:
        rows: of ``sample_rows``.
        encode: the model's tokenizer.
        chat: the model's chat template, for messages.
        tokens: of a sample at most.

    Raises:
        DataError: CalibrationEmpty when no token is left.
    """
    texts = (row if isinstance(row, str) else chat(row) for row in rows)
    samples = [sample for text in texts if (sample := encode(text)[:tokens])]
    if not samples:
        raise DataError(
            "CalibrationEmpty",
            "the calibration text is empty: it needs at least one row with text "
            "(spec.optimize.calibration.source)",
        )
    return samples


def _rows(paths: Sequence[Path], tokens: int) -> Iterator[Row]:
    for path in paths:
        try:
            yield from READERS[path.suffix](path, tokens)
        except (UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                "CalibrationUnreadable",
                f"{path.name} of the calibration source can't be read ({type(error).__name__}: {error}): "
                f"wanted is UTF-8 text, or rows with a text or messages",
            ) from error


def _plain(path: Path, tokens: int) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        while piece := file.read(tokens * CHARACTERS):
            if piece.strip():
                yield piece


def _lines(path: Path, _tokens: int) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip() and (row := _row(json.loads(line))):
                yield row


def _parquet(path: Path, _tokens: int) -> Iterator[Row]:
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
        names = [name for name in ("text", "messages") if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=64, columns=names[:1]):
            yield from (row for one in batch.to_pylist() if (row := _row(one)))
    except ArrowInvalid as error:
        raise ValueError(error) from error


def _row(fields: Mapping[str, Any]) -> Row:
    """The text or the messages of one row; KeyError or TypeError when it has neither."""
    row: Row = fields["text"] if "text" in fields else fields["messages"]
    if not isinstance(row, (str, list)):
        raise TypeError(row)
    return row.strip() and row if isinstance(row, str) else row


READERS: Final[Mapping[str, Callable[[Path, int], Iterator[Row]]]] = {
    ".txt": _plain,
    ".jsonl": _lines,
    ".parquet": _parquet,
}
"""Ending to what reads it."""


def digest(paths: Sequence[Path]) -> str:
    """Return the sha256 of the image's own text, empty for another: that artifact has its own digest."""
    return f"sha256:{files.sha256_of(OWN_TEXT)}" if list(paths) == [OWN_TEXT] else ""
