"""Zeros in the linear layers: by magnitude a tensor at a time, by Wanda and SparseGPT with llmcompressor."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slipway_runtime.cpus import thread_count
from slipway_runtime.errors import DataError, RequestError
from slipway_runtime.job import Job
from slipway_runtime.methods import _compressed as compressed
from slipway_runtime.methods._groups import IGNORED
from slipway_runtime.methods._recipes import Asked
from slipway_runtime.methods.merge import copy_beside
from slipway_runtime.tensors import Stored, pack, read_floats, read_tensors, require_numbers
from slipway_runtime.weights import is_weights

if TYPE_CHECKING:
    from slipway_runtime.tensors import Floats

LINEAR: Final = re.compile(r"(?!.*\.(gate|router)\.weight)(.*\.)?\d+\..*\.weight")
"""Matrices of a layer; the router of a mixture decides too much by each of its weights."""
MATRIX: Final = 2
BY_TOOLS: Final = {"wanda": "WandaPruningModifier", "sparsegpt": "SparseGPTModifier"}
PATTERN: Final = re.compile(r"([1-9][0-9]?):([1-9][0-9]?)")


@dataclass(frozen=True)
class Share:
    """How many weights become zero.

    Attributes:
        sparsity: of all in a tensor.
        zeros: in each block of so many weights of a row; 0 for anywhere.
        block: their number.
    """

    sparsity: float
    zeros: int = 0
    block: int = 0


def read_asked(options: Mapping[str, str]) -> Share:
    """Return what the options ask for; RequestError UnknownOption for what makes no sense."""
    pattern, text = options.get("pattern", ""), options.get("sparsity", "")
    if pattern:
        match = PATTERN.fullmatch(pattern)
        zeros, block = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 0 < zeros < block:
            raise RequestError("UnknownOption", f"option pattern is ZEROS:OF, such as 2:4, not {pattern!r}")
        return Share(zeros / block, zeros, block)
    try:
        sparsity = float(text)
    except ValueError:
        sparsity = 0.0
    if not 0 < sparsity < 1:
        raise RequestError("UnknownOption", f"option sparsity lies between 0 and 1, and is {text!r}")
    return Share(sparsity)


def by_magnitude(job: Job, base: Path, share: Share, target: Path) -> tuple[int, int]:
    """Write the model with its smallest weights at zero; return zeros and weights of what was pruned."""
    copy_beside(base, target)
    zeros = weights = done = 0
    paths = [path for path in sorted(base.glob("*.safetensors")) if is_weights(path.name)]
    total = sum(path.stat().st_size for path in paths)
    for path in paths:
        with path.open("rb") as source, (target / path.name).open("wb") as file:
            for name, stored in read_tensors(path).items():
                file.write(source.read(stored.start - source.tell()))
                require_numbers(name, stored)
                if prunable(name, stored, share):
                    values = pruned(read_floats(stored).reshape(stored.shape), share)
                    zeros, weights = zeros + int((values == 0).sum()), weights + values.size
                    file.write(pack(values, stored.dtype).tobytes())
                    source.seek(stored.end)
                else:
                    _copy(source, file, stored.end - stored.start)
                job.progress.report(done + stored.end, total, in_bytes=True)
        done += path.stat().st_size
    return zeros, weights


def prunable(name: str, stored: Stored, share: Share) -> bool:
    """Whether a tensor is a matrix of a layer, and its rows divide into the pattern's blocks."""
    if LINEAR.fullmatch(name) is None or len(stored.shape) != MATRIX:
        return False
    return not share.block or stored.shape[1] % share.block == 0


def pruned(values: Floats, share: Share) -> Floats:
    """Return the matrix with its smallest weights at zero: of all, or of each block of a row."""
    import numpy as np

    if share.block:
        blocks = values.reshape(-1, share.block)
        least = np.argpartition(np.abs(blocks), share.zeros - 1, axis=1)[:, : share.zeros]
        kept = blocks.copy()
        np.put_along_axis(kept, least, 0, axis=1)
        return kept.reshape(values.shape)
    flat = values.reshape(-1).copy()
    count = int(share.sparsity * flat.size)
    if count:
        flat[np.argpartition(np.abs(flat), count - 1)[:count]] = 0
    return flat.reshape(values.shape)


def by_tool(job: Job, tool: str, share: Share, target: Path) -> tuple[int, int]:
    """Prune by what layers are given for the calibration text, with llmcompressor; the result is dense."""
    os.environ.update(compressed.QUIET)
    import torch
    import transformers
    from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier

    torch.set_num_threads(thread_count(job.environment))
    transformers.set_seed(0)
    asked = Asked(job.level, {name: one for name, one in job.options().items() if name == "samples"})
    kinds = {"wanda": WandaPruningModifier, "sparsegpt": SparseGPTModifier}
    step = kinds[tool](
        sparsity=share.sparsity,
        mask_structure=f"{share.zeros}:{share.block}",
        targets=["Linear"],
        ignore=list(IGNORED),
    )
    try:
        tokenizer, model = compressed._load(job.parent_published)  # noqa: SLF001 - one package
        samples = compressed._samples(job, asked, tokenizer, model.config)  # noqa: SLF001 - the same
        with compressed._Watching(job, model, len(samples)):  # noqa: SLF001 - the same
            _oneshot(model, tokenizer, step, samples)
        model.save_pretrained(target, save_compressed=False)
    except (RuntimeError, ValueError, NotImplementedError, KeyError) as error:
        raise DataError("PruningFailed", f"llmcompressor refused the model or the recipe: {error}") from error
    (target / "recipe.yaml").unlink(missing_ok=True)  # llmcompressor's own words for what the manifest says
    copy_beside(job.parent_published, target)
    return _count(target, share)


def _oneshot(model: Any, tokenizer: Any, step: Any, samples: list[list[int]]) -> None:
    import torch
    from llmcompressor import oneshot
    from torch.utils.data import DataLoader

    rows = [{"input_ids": torch.tensor([sample])} for sample in samples]
    rows = [{**row, "attention_mask": torch.ones_like(row["input_ids"])} for row in rows]
    data = DataLoader(rows, batch_size=1, collate_fn=lambda batch: batch[0])
    with compressed._unpinned():  # noqa: SLF001 - one package
        oneshot(
            model=model,
            processor=tokenizer,
            recipe=[step],
            dataset=data,
            num_calibration_samples=len(samples),
        )


def _count(folder: Path, share: Share) -> tuple[int, int]:
    zeros = weights = 0
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
        for name, stored in read_tensors(path).items():
            if prunable(name, stored, share):
                values = read_floats(stored)
                zeros, weights = zeros + int((values == 0).sum()), weights + values.size
    return zeros, weights


def _copy(source: Any, file: Any, count: int) -> None:
    while count:
        part = source.read(min(count, 1 << 22))
        file.write(part)
        count -= len(part)
