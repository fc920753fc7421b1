"""Layers left out: what each costs in perplexity, and the model's files without some. Called by prune."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from slipway_runtime.cpus import thread_count
from slipway_runtime.errors import DataError, RequestError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.methods import _calibration as calibration
from slipway_runtime.methods import _compressed as compressed
from slipway_runtime.methods.merge import copy_beside
from slipway_runtime.tensors import Stored, read_tensors, require_numbers
from slipway_runtime.weights import CONFIG, INDEX, is_weights

if TYPE_CHECKING:
    from collections.abc import Collection

NUMBERED: Final = re.compile(r"((?:.*\.)?(?:layers|h|blocks)\.)(\d+)(\..*)")
"""A tensor of a layer: what is before its number, the number, what is after."""
COUNTS: Final = ("num_hidden_layers", "n_layer", "num_layers")
LISTS: Final = ("layer", "block")
"""Words in the names of lists with an entry for each layer: layer_types, layers_block_type."""
BY_NUMBER: Final = ("mlp_only_layers", "first_k_dense_replace", "full_attn_idxs", "cross_attention_layers")
"""Fields that name layers by their number, which would be another one's."""
WINDOWS: Final = 4
TOKENS: Final = 512
"""Text that each layer's lack is measured on: a pass over 2,048 tokens for every layer."""


def layer_count(base: Path) -> int:
    """Return how many layers config.json says; DataError BrokenConfig when it doesn't."""
    config = _config(base)
    for part in (config, config.get("text_config") or {}):
        for name in COUNTS:
            if isinstance(part.get(name), int):
                return int(part[name])
    raise DataError("BrokenConfig", f"{CONFIG} does not say how many layers there are")


def read_numbers(text: str, count: int) -> list[int]:
    """Return the layers to drop; RequestError for one that there isn't, or for all."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) < count for part in parts) or len(set(parts)) >= count:
        raise RequestError(
            "UnknownOption", f"option layers is some of 0 to {count - 1}, such as 3,4, not {text!r}"
        )
    return sorted({int(part) for part in parts})


def measure(job: Job, base: Path) -> dict[int, float]:
    """Return each layer's number to the perplexity of the model without it, on the calibration text."""
    os.environ.update(compressed.QUIET)
    import torch

    torch.set_num_threads(thread_count(job.environment))
    tokenizer, model = compressed._load(base)  # noqa: SLF001 - one package
    rows = calibration.sample_rows(calibration.calibration_files(job), WINDOWS, TOKENS)
    samples = calibration.tokenised(
        rows,
        lambda text: list(tokenizer(text, truncation=True, max_length=TOKENS)["input_ids"]),
        lambda row: str(tokenizer.apply_chat_template(row, tokenize=False)),
        TOKENS,
    )
    found: dict[int, float] = {}
    stack = _stack(model, layer_count(base))
    whole = _perplexity(model, samples)
    for number, layer in enumerate(stack):
        with _without(layer):
            found[number] = _perplexity(model, samples)
        job.progress.report(number + 1, len(stack) + 1)
        LOGGER.info("without layer %d perplexity %.4g, with all %.4g", number, found[number], whole)
    return found


def _stack(model: Any, count: int) -> Any:
    """The list of the model's layers."""
    from torch.nn import ModuleList

    for module in model.modules():
        if isinstance(module, ModuleList) and len(module) == count:
            return module
    raise DataError("PruningFailed", f"the model has no list of {count} layers: name none to be dropped")


@contextmanager
def _without(layer: Any) -> Iterator[None]:
    """Let the layer hand on what it is given."""

    def hand_on(_module: Any, args: tuple[Any, ...], given: Mapping[str, Any], out: Any) -> Any:
        hidden = args[0] if args else given["hidden_states"]
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    hook = layer.register_forward_hook(hand_on, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _perplexity(model: Any, samples: list[list[int]]) -> float:
    """Perplexity over all tokens of the samples; infinity where the model says nothing that is a number."""
    import torch

    total, tokens = 0.0, 0
    with torch.no_grad():
        for sample in samples:
            ids = torch.tensor([sample])
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            total, tokens = total + float(loss) * (len(sample) - 1), tokens + len(sample) - 1
    mean = total / max(1, tokens)
    return float(torch.exp(torch.tensor(mean, dtype=torch.float64))) if mean == mean else float("inf")  # noqa: PLR0124 - NaN


def write_without(base: Path, target: Path, dropped: Collection[int]) -> None:
    """Write the model's files without some layers, the others numbered anew."""
    copy_beside(base, target)
    count = layer_count(base)
    kept = {number: place for place, number in enumerate(n for n in range(count) if n not in dropped)}
    placed: dict[str, str] = {}
    for path in sorted(base.glob("*.safetensors")):
        if not is_weights(path.name):
            continue
        renamed = {
            new: stored
            for name, stored in read_tensors(path).items()
            if (new := rename(name, kept)) is not None
        }
        for name, stored in renamed.items():
            require_numbers(name, stored)
        if renamed:
            with (target / path.name).open("wb") as file:
                write_tensors(file, path, renamed)
            placed |= dict.fromkeys(renamed, path.name)
    if (base / INDEX).is_file():
        size = sum((target / name).stat().st_size for name in set(placed.values()))
        index = {"metadata": {"total_size": size}, "weight_map": placed}
        (target / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    config = shorten(_config(base), count, kept)
    (target / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def rename(name: str, kept: Mapping[int, int]) -> str | None:
    """Return what a tensor is called in the shorter model; None for one that goes."""
    match = NUMBERED.fullmatch(name)
    if match is None:
        return name
    place = kept.get(int(match[2]))
    return None if place is None else f"{match[1]}{place}{match[3]}"


def write_tensors(file: BinaryIO, path: Path, tensors: Mapping[str, Stored]) -> None:
    """Write a safetensors file of tensors of another one, as they are, in their order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, one in tensors.items():
        size = one.end - one.start
        header[name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    with path.open("rb") as source:
        for one in tensors.values():
            source.seek(one.start)
            left = one.end - one.start
            while left:
                part = source.read(min(left, 1 << 22))
                file.write(part)
                left -= len(part)


def shorten(config: Mapping[str, Any], count: int, kept: Mapping[int, int]) -> dict[str, Any]:
    """Return config.json for the layers that stay: their number, and lists with an entry for each."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key in BY_NUMBER and value:
            raise DataError("PruningFailed", f"{CONFIG} names layers by number ({key}): none can be dropped")
        if key in COUNTS and value == count:
            found[key] = len(kept)
        elif isinstance(value, list) and len(value) == count and any(word in key for word in LISTS):
            found[key] = [value[number] for number in kept]
        else:
            found[key] = shorten(value, count, kept) if isinstance(value, dict) else value
    return found


def _config(base: Path) -> dict[str, Any]:
    try:
        value = json.loads((base / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError("BrokenConfig", f"{CONFIG} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError("BrokenConfig", f"{CONFIG} is no JSON object")
    return value
