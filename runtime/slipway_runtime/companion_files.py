"""Which files of a repository are an adapter or heads; of a model: weights.py. For inspection and fetch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import accumulate
from typing import TYPE_CHECKING

from slipway_runtime.errors import DataError
from slipway_runtime.weights import (
    ADAPTER,
    ADAPTER_CONFIG,
    CONFIG,
    beside_weights,
    is_adapter,
    is_weights,
    no_weights,
    safe_names,
    select_files,
)

if TYPE_CHECKING:
    from slipway_runtime.sources import RemoteFile

TEXTS = (".txt", ".jsonl", ".parquet")
"""Endings of what methods calibrate on, as ``methods._calibration`` reads them."""
NO_TEXTS = re.compile(r"(.*/)?(LICEN[SC]E|NOTICE|README|requirements)[^/]*", re.IGNORECASE)
TEXT_BYTES = 1_000_000_000
"""Of texts that are downloaded: samples are a few megabytes of them, and some data sets have terabytes."""
MEDUSA = "medusa_lm_head.safetensors"
"""What Medusa's own training calls its heads; others call them as models do."""


def select(files: Collection[RemoteFile]) -> list[RemoteFile]:
    """Return what is downloaded of a repository: of a model, of what is served beside one, or texts."""
    if holds_texts([file.path for file in files]):
        return select_texts(files)
    return select_adapter(files) if is_adapter([file.path for file in files]) else select_heads(files)


def select_adapter(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return what is downloaded of an adapter in PEFT's layout: its weights and their companions at the root.

    Raises:
        DataError: NotAnAdapter or PickleOnly, or UnsafePath for a name that leads out of the folder.
    """
    known = safe_names(files)
    if ADAPTER_CONFIG not in known:
        raise DataError(
            "NotAnAdapter",
            f"the repository has no {ADAPTER_CONFIG}: it is no adapter in PEFT's layout. Name one that is",
        )
    if ADAPTER not in known:
        found = no_weights(known)
        pickles = found.reason == "PickleOnly"
        raise found if pickles else DataError("NotAnAdapter", f"the repository has no {ADAPTER}")
    if models := [*filter(is_weights, known)]:
        raise DataError(
            "NotAnAdapter",
            f"the repository holds a model beside {ADAPTER} ({models[0]}): name one with the adapter alone",
        )
    return [known[ADAPTER], *beside_weights(known)]


def select_texts(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return what is downloaded to calibrate on: texts, in the order of their paths, the first gigabyte.

    Raises:
        DataError: CalibrationEmpty, or UnsafePath for a name that leads out of the folder.
    """
    known = safe_names(files)
    if not holds_texts(known):
        raise DataError(
            "CalibrationEmpty",
            f"the calibration source holds no {', '.join(TEXTS)}, or a model: name one with texts alone in "
            "spec.optimize.calibration.source",
        )
    texts = [known[path] for path in sorted(known) if is_text(path)]
    sizes = accumulate(file.size for file in texts)
    kept = [file for file, whole in zip(texts, sizes, strict=True) if whole <= TEXT_BYTES]
    return kept or texts[:1]


def holds_texts(paths: Collection[str]) -> bool:
    """Whether a repository holds texts, and neither a model nor an adapter."""
    models = {CONFIG, ADAPTER_CONFIG} & set(paths) or any(map(holds_tensors, paths))
    return not models and any(map(is_text, paths))


def is_text(path: str) -> bool:
    """Whether methods can read a file as a calibration text."""
    return path.endswith(TEXTS) and not NO_TEXTS.fullmatch(path)


def select_heads(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return what is downloaded of heads: as of a model, or ``MEDUSA`` where no weights are named so.

    Raises:
        NotFoundError: NoConfig.
        DataError: as ``select_files``.
    """
    known = safe_names(files)
    if CONFIG not in known or not is_heads(known):
        return select_files(known.values())
    return [known[MEDUSA], *beside_weights(known)]


def is_heads(paths: Collection[str]) -> bool:
    """Whether a repository holds Medusa's heads under their own name, and no model."""
    return MEDUSA in paths and not any(map(is_weights, paths))


def holds_tensors(path: str) -> bool:
    """Whether a selected file holds weights of a model, of an adapter or of heads."""
    return path in (ADAPTER, MEDUSA) or is_weights(path)
