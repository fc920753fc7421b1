"""LoRA adapters added to their base, a part of a tensor at a time; by PEFT where they are more than that.

The result has the base's files: the same shards, types and names, so that whatever takes the base takes it.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from slipway_runtime import contract, files
from slipway_runtime.errors import DataError, RequestError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.lora import Change, Wish, changes_of, needs_peft, read_config
from slipway_runtime.model_folder import make_folder
from slipway_runtime.tensors import Stored, pack, read_floats, read_tensors, require_numbers, unpack
from slipway_runtime.weights import CONFIG, is_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "merge"
LEVELS = (contract.MERGED,)
STAGE = "merge"
FORM = "safetensors"
IMAGE = "optimizer"
GPU = False
BLOCK = 1 << 22
"""Elements that are computed at once: 16 MiB as float32."""
COPY = 1 << 22
"""Bytes that are copied at once."""


def merge(job: Job) -> dict[str, Any]:
    """Add the adapters of the recipe to ``/parent/published``, into ``/store/work/model``.

    Options: ``adapter-01: NAME=WEIGHT`` and so on, in the order in which they are merged; each adapter is
    the input ``adapter-NAME``.

    Returns:
        ``{"sizeBytes", "files", "adapters"}``, plus ``"resumed"``.
    """
    base, wishes = job.parent_published, read_wishes(job)
    files.require_file(base / CONFIG, "fetch of the source artifact")
    total = sum(path.stat().st_size for path in base.rglob("*") if path.is_file())
    whole = [wish.name for wish in wishes if needs_peft(read_config(wish.folder))]
    if whole:
        from slipway_runtime.lora_by_peft import merge_whole

        LOGGER.info("%s: more than matrices is added, so PEFT merges the whole model", ", ".join(whole))
        make: Callable[[Path], None] = partial(merge_whole, base, wishes, job.progress)
    else:
        make = partial(merge_files, job, base, wishes)
    return {**make_folder(job, total, make), "adapters": len(wishes)}


def read_wishes(job: Job) -> list[Wish]:
    """Return the adapters in their order; RequestError when the recipe does not say them."""
    found = []
    for key, value in sorted(job.options().items()):
        if not key.startswith("adapter-"):
            continue
        name, _, weight = value.rpartition("=")
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise RequestError("MissingInput", f"option {key} must be NAME=WEIGHT, and is {value!r}")
        found.append(Wish(name, number, job.input_published(f"adapter-{name}")))
    if not found:
        raise RequestError("MissingInput", "the recipe names no adapter: options adapter-01: NAME=WEIGHT ...")
    return found


def merge_files(job: Job, base: Path, wishes: Sequence[Wish], target: Path) -> None:
    """Write the base's files with the adapters in its weights."""
    shards = {
        path: read_tensors(path) for path in sorted(base.glob("*.safetensors")) if is_weights(path.name)
    }
    tensors = {name: one for shard in shards.values() for name, one in shard.items()}
    changes = changes_of(wishes, tensors)
    LOGGER.info("%d of %d tensors change", len(changes), len(tensors))
    total = sum(path.stat().st_size for path in shards)
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        job.progress.report(done, total, in_bytes=True)

    copy_beside(base, target)
    for path, shard in shards.items():
        with path.open("rb") as source, (target / path.name).open("wb") as file:
            write_shard(source, file, shard, changes, tell)


def copy_beside(base: Path, target: Path) -> None:
    """Copy all that is no weights: configuration, tokenizer, chat template, licence."""
    for path in sorted(base.rglob("*")):
        name = path.relative_to(base)
        if path.is_file() and name.as_posix() != contract.MANIFEST and not is_weights(name.as_posix()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)


def write_shard(
    source: BinaryIO,
    file: BinaryIO,
    shard: Mapping[str, Stored],
    changes: Mapping[str, Sequence[Change]],
    tell: Callable[[int], None],
) -> None:
    """Write one file: its header and what stays as they are, what changes computed a block of rows at a time.

    Args:
        source: the base's file, at its beginning.
        file: to be written.
        shard: the tensors in it, in the order of their bytes.
        changes: by name of the tensor, in the order in which they apply.
        tell: is told the bytes written since the last time.
    """
    for name, stored in shard.items():
        if name not in changes:
            require_numbers(name, stored)
            continue
        _copy(source, file, stored.start - source.tell(), tell)
        for block in changed(name, stored, changes[name]):
            tell(file.write(block.tobytes()))
        source.seek(stored.end)
    _copy(source, file, -1, tell)


def changed(name: str, stored: Stored, changes: Sequence[Change]) -> Iterator[NDArray[Any]]:
    """Yield a tensor's rows, a block at a time, in its own type with every change in it.

    After each change they are rounded to that type, as PEFT does when it merges one adapter after the other.

    Raises:
        DataError: InvalidWeights, what was computed is no number.
    """
    import numpy as np

    columns = stored.row_elements
    rows = max(1, BLOCK // max(1, columns))
    loaded = [change.load(stored.dtype) for change in changes]
    height = stored.shape[0] if stored.shape else 1
    for start in range(0, height, rows):
        count = min(rows, height - start)
        block = read_floats(stored, start * columns, count * columns).reshape(count, columns)
        packed = pack(block, stored.dtype)
        for change in loaded:
            packed = pack(change(block, start), stored.dtype)
            block = unpack(packed, stored.dtype)
        if not np.isfinite(block).all():
            raise DataError(
                "InvalidWeights",
                f"{name} holds NaN or infinity once it is merged: base or adapter is damaged",
            )
        yield packed


def _copy(source: BinaryIO, file: BinaryIO, count: int, tell: Callable[[int], None]) -> None:
    """Copy so many bytes; -1 for all that are left."""
    while count:
        part = source.read(COPY if count < 0 else min(COPY, count))
        if not part:
            return
        file.write(part)
        tell(len(part))
        count -= len(part) if count > 0 else 0


def largest_shard(base: Path) -> int:
    """Return the size of the base's largest file of weights, bytes."""
    return max((path.stat().st_size for path in base.glob("*.safetensors")), default=0)
