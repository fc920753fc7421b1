"""What the methods of llmcompressor share: check, load, calibrate, write a folder. Called by their files.

What they write is compressed-tensors: safetensors with ``quantization_config`` in config.json, beside the
parent's own tokenizer, chat template and generation defaults.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from slipway_runtime import files
from slipway_runtime.contract import MANIFEST
from slipway_runtime.cpus import thread_count
from slipway_runtime.errors import DataError, ToolError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.methods import _calibration as calibration
from slipway_runtime.methods._groups import choose_group, input_sizes, require_group
from slipway_runtime.methods._recipes import SAMPLES, TOKENS, Asked, Recipe, refuse_others
from slipway_runtime.model_folder import make_folder
from slipway_runtime.weights import CONFIG, INDEX, WEIGHTS

KIB: Final = 1024
OWN: Final = {CONFIG, INDEX, MANIFEST}
"""Files of the parent that describe its own weights."""
READABLE: Final = 0o644
"""safetensors are written for their owner alone, and engines run as somebody else."""
PASSES: Final = 2
"""Layers are run for each sample once to calibrate, once to hand on what the smaller layer makes of it."""
QUIET: Final = {
    "TQDM_DISABLE": "1",
    "LLM_COMPRESSOR_LOG_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}
"""The end of the log is where the operator reads how far we are: bars would push it out."""


@dataclass(frozen=True)
class Kind:
    """What a level of a method is.

    Attributes:
        recipe: its options to what llmcompressor applies.
        options: names that it takes.
        grouped: ``groupSize`` is chosen; group: its format has groups of so many; 0 for none.
    """

    recipe: Callable[[Asked], Recipe]
    options: Sequence[str]
    grouped: bool = False
    group: int = 0


def compress(job: Job, kind: Kind) -> dict[str, Any]:
    """Make the job's level of ``/parent/published`` in ``/store/work/model``.

    Returns:
        ``{"sizeBytes", "files"}``, ``"made"``: what was chosen, name to value; plus ``"resumed"``.

    Raises:
        RequestError: UnknownOption; GroupSize, the groups leave a rest in some layer.
        DataError: RemoteCode, InvalidWeights, CalibrationEmpty, CalibrationUnreadable, or QuantizationFailed
            with what llmcompressor said.
    """
    folder = job.parent_published
    files.require_file(folder / CONFIG, "fetch of the source artifact")
    options = job.options()
    refuse_others(job.level, options, kind.options)
    asked = Asked(job.level, options, _group(folder, kind, Asked(job.level, options)))
    recipe = kind.recipe(asked)
    made = {"groupSize": str(asked.group)} if kind.grouped else {}
    return make_folder(job, job.expected_bytes, partial(_make, job, asked, recipe, made), made)


def _group(folder: Path, kind: Kind, asked: Asked) -> int:
    if kind.group:
        require_group(input_sizes(folder), kind.group, asked.level)
        return kind.group
    if not kind.grouped:
        return 0
    named = asked.number("groupSize", 1) if asked.options.get("groupSize") else None
    return choose_group(input_sizes(folder), named)


def _make(job: Job, asked: Asked, recipe: Recipe, made: dict[str, str], target: Path) -> None:
    """Load, quantise and save; what was chosen is added to ``made``."""
    os.environ.update(QUIET)
    import torch
    import transformers

    torch.set_num_threads(thread_count(job.environment))
    transformers.set_seed(calibration.SEED)
    try:
        tokenizer, model = _load(job.parent_published)
        samples = _samples(job, asked, tokenizer, model.config) if recipe.calibrates else []
        if samples:
            made["samples"] = str(len(samples))
        with _Watching(job, model, len(samples)):
            _oneshot(model, tokenizer, recipe, samples)
        model.save_pretrained(target, save_compressed=True)
    except MemoryError as error:
        raise ToolError("OutOfMemory", "PyTorch ran out of memory: give the Job more") from error
    except (RuntimeError, ValueError, NotImplementedError, KeyError) as error:
        raise _refused(job, error) from error
    _copy_beside(job.parent_published, target)
    job.progress.report(1, 1)
    LOGGER.info("peak memory %d MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // KIB)


def _load(folder: Path) -> tuple[Any, Any]:
    """Return tokenizer and model, in the type that its files have."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    own = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(folder, **own)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **own).eval()
    for name, weights in model.named_parameters():
        if not weights.isfinite().all():
            raise DataError("InvalidWeights", f"{name} holds NaN or infinity: this revision is damaged")
    return tokenizer, model


def _samples(job: Job, asked: Asked, tokenizer: Any, config: Any) -> list[list[int]]:
    """Token numbers of the calibration text."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None) or TOKENS
    tokens = min(asked.number("sequenceLength", TOKENS), limit)
    wanted = asked.number("samples", SAMPLES)
    paths = calibration.calibration_files(job)
    rows = calibration.sample_rows(paths, wanted, tokens)
    samples = calibration.tokenised(
        rows,
        lambda text: list(tokenizer(text, truncation=True, max_length=tokens)["input_ids"]),
        lambda row: str(tokenizer.apply_chat_template(row, tokenize=False)),
        tokens,
    )
    if len(samples) < wanted:
        LOGGER.warning("the calibration text has %d samples, %d were wished", len(samples), wanted)
    LOGGER.info("calibrating with %d samples of at most %d tokens", len(samples), tokens)
    return samples


def _oneshot(model: Any, tokenizer: Any, recipe: Recipe, samples: Sequence[Sequence[int]]) -> None:
    """Let llmcompressor do it; without samples nothing is run through the model."""
    import torch
    from llmcompressor import oneshot
    from torch.utils.data import DataLoader

    given: dict[str, Any] = {}
    if samples:
        rows = [{"input_ids": torch.tensor([sample])} for sample in samples]
        rows = [{**row, "attention_mask": torch.ones_like(row["input_ids"])} for row in rows]
        given = {"dataset": DataLoader(rows, batch_size=1, collate_fn=lambda batch: batch[0])}
    known = modifiers()
    steps = [known[name](**arguments) for name, arguments in recipe.modifiers]
    with _unpinned():
        oneshot(model=model, processor=tokenizer, recipe=steps, num_calibration_samples=len(samples), **given)


def _unpinned() -> AbstractContextManager[None]:
    """Without an accelerator nothing can be pinned for it; AWQ of llmcompressor 0.14 asks for it anyway."""
    import torch
    from compressed_tensors.utils import patch_attr
    from llmcompressor.pipelines.cache import IntermediatesCache

    if torch.accelerator.is_available():
        return nullcontext()
    unpinned: AbstractContextManager[None] = patch_attr(IntermediatesCache, "pin_memory", lambda *_: None)
    return unpinned


def modifiers() -> dict[str, Any]:
    """Llmcompressor's classes by the name that recipes have for them."""
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    known = (AWQModifier, GPTQModifier, QuantizationModifier, SmoothQuantModifier)
    return {one.__name__: one for one in known}


class _Watching:
    """Reports progress by the layers that samples have passed through."""

    def __init__(self, job: Job, model: Any, samples: int) -> None:
        split = set(getattr(model, "_no_split_modules", None) or ())
        layers = [module for module in model.modules() if type(module).__name__ in split]
        self._total = len(layers) * samples * PASSES
        self._done, self._job = 0, job
        self._hooks = [layer.register_forward_hook(self._passed) for layer in layers]

    def _passed(self, *_: Any) -> None:
        self._done += 1
        self._job.progress.report(min(self._done, self._total - 1), self._total)

    def __enter__(self) -> None:
        self._job.progress.report(0, 1)

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _copy_beside(source: Path, target: Path) -> None:
    """Copy tokenizer, template, generation defaults and licence as they are.

    What transformers would write of a tokenizer, older engines can't read.
    """
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and path.name not in OWN and not WEIGHTS.fullmatch(path.name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
    for path in target.rglob("*.safetensors"):
        path.chmod(READABLE)


def _refused(job: Job, error: Exception) -> Exception:
    """The StageError for what PyTorch, transformers or llmcompressor ended with."""
    words = str(error)
    if "No space left" in words:
        return files.store_full(job.store)
    if "trust_remote_code" in words:
        return DataError(
            "RemoteCode",
            "the model brings Python of its own, which no Job that rewrites weights runs: choose one without",
        )
    if "alloc" in words and "memory" in words:
        return ToolError("OutOfMemory", f"PyTorch ran out of memory: give the Job more. It said:\n{words}")
    return DataError("QuantizationFailed", f"llmcompressor refused the model or the recipe: {words}")
