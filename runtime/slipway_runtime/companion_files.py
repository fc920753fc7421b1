"""Which files of a repository are an adapter or heads; of a model: weights.py. For inspection and fetch."""

from __future__ import annotations

from collections.abc import Collection, Iterable
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

MEDUSA = "medusa_lm_head.safetensors"
"""What Medusa's own training calls its heads; others call them as models do."""


def select(files: Collection[RemoteFile]) -> list[RemoteFile]:
    """Return what is downloaded of a repository: of a model, or of what is served beside one."""
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
