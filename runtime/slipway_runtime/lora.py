"""What LoRA adapters in PEFT's layout do to each tensor of their base. For methods.merge and inspection.

W becomes W + w * s * B A with w the wish's weight and s = alpha / r, or alpha / sqrt(r) for rank-stabilised
ones: ``get_delta_weight`` of PEFT 0.21 (tuners/lora/layer.py), computed in float32.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slipway_runtime.errors import DataError, NotFoundError
from slipway_runtime.tensors import Stored, pack, read_floats, read_tensors, unpack
from slipway_runtime.weights import ADAPTER, ADAPTER_CONFIG

if TYPE_CHECKING:
    from slipway_runtime.tensors import Floats

PREFIX: Final = "base_model.model."
"""What PEFT puts before a module's name."""
PART: Final = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.weight)?")
BY_PEFT: Final = (
    "use_dora", "lora_bias", "target_parameters", "trainable_token_indices", "kasa_config", "velora_config",
    "monteclora_config", "arrow_config",
)  # fmt: skip
"""Options of an adapter that take more than its matrices to merge: PEFT does it, with the whole model."""
BASE_LAYER: Final = ".base_layer."
"""In the name of a copy of the base's own tensor: PEFT writes those of embeddings that an adapter changes."""
PATTERN: Final = re.compile(
    r"(?:(?:[\w.-]|\\[.dwDW]|\[[^\[\]\\]+\])(?:[*+?]\??|\{\d{1,3}(?:,\d{0,3})?\})?|\((?:\?:)?|[)|^$])+"
)
"""What names modules in an adapter: names and regular expressions in which nothing is repeated but one
character, as the time of others has no bound."""
PATTERN_LIMIT: Final = 200
"""Characters of a pattern, and of a module's name that one is held against."""
BRANCHES: Final = 3
"""Groups and repetitions of a pattern: the time grows with its length to that power."""
MATRIX: Final = 2
"""Dimensions of a tensor that low-rank matrices add to."""


@dataclass(frozen=True)
class Wish:
    """An adapter to merge: its name, the weight that it is multiplied by, and its published folder."""

    name: str
    weight: float
    folder: Path


@dataclass(frozen=True)
class Change:
    """What one adapter does to one tensor; nothing of it is in memory before it is loaded.

    Attributes:
        scale: of the product; of a saved module how far the tensor moves to it, 1 for all the way.
        lower, upper: A, rank x in, and B, out x rank; of a saved module none.
        turned: the tensor is in x out, as embeddings are.
        early: what is added is rounded to the tensor's own type before it is; PEFT does that to embeddings.
        saved: the tensor that stands in place of the base's, of a module that was trained whole.
    """

    scale: float
    lower: Stored | None = None
    upper: Stored | None = None
    turned: bool = False
    early: bool = False
    saved: Stored | None = None

    def load(self, dtype: str) -> Callable[[Floats, int], Floats]:
        """Return what gives rows of a tensor of this type as the adapter leaves them.

        It takes the rows as they were, rows x columns, and the number of the first of them.
        """
        if self.lower is None or self.upper is None:
            return self._move
        lower = read_floats(self.lower).reshape(self.lower.shape)
        upper = read_floats(self.upper).reshape(self.upper.shape)
        left, right = (lower.T, upper.T) if self.turned else (upper, lower)
        # A float alone would be taken for 64 bits: NumPy's scalars keep the type of the matrix.
        scale = lower.dtype.type(self.scale)

        def add(block: Floats, start: int) -> Floats:
            more = (left[start : start + len(block)] @ right) * scale
            return block + (unpack(pack(more, dtype), dtype) if self.early else more)

        return add

    def _move(self, block: Floats, start: int) -> Floats:
        if self.saved is None:
            return block
        rows, columns = block.shape
        there = read_floats(self.saved, start * columns, rows * columns).reshape(rows, columns)
        return there if self.scale == 1 else block + block.dtype.type(self.scale) * (there - block)


def needs_peft(config: Mapping[str, Any]) -> bool:
    """Whether an adapter has more than matrices to add, by its adapter_config.json."""
    return any(config.get(key) for key in BY_PEFT) or config.get("bias") not in (None, "none")


def read_config(folder: Path) -> dict[str, Any]:
    """Return adapter_config.json; NotFoundError or DataError when it is missing or no JSON object."""
    path = folder / ADAPTER_CONFIG
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError("FileNotFound", f"{path} does not exist: fetch of the adapter first") from error
    except ValueError as error:
        raise DataError("BrokenConfig", f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError("BrokenConfig", f"{path} is no JSON object")
    for name in ("alpha_pattern", "rank_pattern"):
        patterns = value.get(name)
        for key in patterns if isinstance(patterns, dict) else ():
            require_pattern(name, key)
    return value


def require_pattern(field: str, pattern: str) -> None:
    """Refuse what is no regular expression, or one that may take for ever; DataError NotAnAdapter.

    PEFT matches them with ``re``, too, which knows no limit of time: so both are spared them.
    """
    safe = len(pattern) <= PATTERN_LIMIT and PATTERN.fullmatch(pattern) is not None
    branches = sum(pattern.count(one) for one in "(*+?{") - pattern.count("(?:")
    if safe and branches <= BRANCHES:
        try:
            re.compile(rf"(.*\.)?({pattern})")
        except re.error:
            pass
        else:
            return
    raise DataError(
        "NotAnAdapter",
        f"{ADAPTER_CONFIG} names modules in {field} by {pattern[:60]!r}: only names and simple regular "
        f"expressions are taken, with {BRANCHES} groups and repetitions at most and no repeated group. Name "
        "each module there by the end of its name",
    )


def read_changes(wish: Wish, base: Mapping[str, Stored]) -> dict[str, Change]:
    """Return what an adapter does to its base, by the name of the base's tensor.

    Args:
        wish: the adapter.
        base: every tensor of the base.

    Raises:
        DataError: AdapterMismatch, it names tensors that the base has not, or of another shape; NotAnAdapter,
            it has tensors that are nothing a LoRA has; BrokenWeights, a matrix has no partner.
    """
    config = read_config(wish.folder)
    halves: dict[str, dict[str, Stored]] = {}
    found: dict[str, Change] = {}
    for key, stored in read_tensors(wish.folder / ADAPTER).items():
        name = key.removeprefix(PREFIX)
        if match := PART.fullmatch(name):
            halves.setdefault(match[1], {})[f"{match[2] or ''}{match[3]}"] = stored
        elif BASE_LAYER in name:
            own = _known(wish, name.replace(BASE_LAYER, "."), base)
            _refuse_shape(wish, own, base[own].shape, stored.shape)
        elif "lora_" in name or not name.endswith((".weight", ".bias")):
            raise DataError("NotAnAdapter", f"adapter {wish.name} has a tensor {key!r}, which no LoRA has")
        else:
            saved = _known(wish, name, base)
            _refuse_shape(wish, saved, base[saved].shape, stored.shape)
            found[saved] = Change(wish.weight, saved=stored)
    for module, parts in halves.items():
        tensor = _known(wish, f"{module}.weight", base)
        found[tensor] = _product(wish, config, module, parts, (tensor, base[tensor]))
    if not found:
        raise DataError("NotAnAdapter", f"adapter {wish.name} has no tensor at all")
    return found


def _known(wish: Wish, name: str, base: Mapping[str, Stored]) -> str:
    """The base's tensor of that name: the same, or the only one whose name ends in it or that it ends in."""
    if name in base:
        return name
    alike = [one for one in base if one.endswith(f".{name}") or name.endswith(f".{one}")]
    if len(alike) == 1:
        return alike[0]
    raise DataError(
        "AdapterMismatch",
        f"adapter {wish.name} changes {name}, and its base has no such tensor: it was made for another "
        "model. Name an adapter of this very model, or its own base in spec.model.source",
    )


def _refuse_shape(wish: Wish, name: str, base: tuple[int, ...], own: tuple[int, ...]) -> None:
    if base == own:
        return
    sizes = [" x ".join(map(str, shape)) for shape in (own, base)]
    raise DataError(
        "AdapterMismatch",
        f"adapter {wish.name} was made for a {name} of {sizes[0]}, and its base has {sizes[1]}: it was made "
        "for another model, or one with more tokens. Name an adapter of this very model",
    )


def _product(
    wish: Wish,
    config: Mapping[str, Any],
    module: str,
    parts: Mapping[str, Stored],
    base: tuple[str, Stored],
) -> Change:
    embedding = any(part.startswith("embedding_") for part in parts)
    names = ("embedding_A", "embedding_B") if embedding else ("A", "B")
    if set(parts) != set(names):
        raise DataError(
            "BrokenWeights", f"adapter {wish.name} has half of what it does to {module}: {', '.join(parts)}"
        )
    first, second = (parts[name] for name in names)
    if len(first.shape) != MATRIX or len(second.shape) != MATRIX or first.shape[0] != second.shape[1]:
        raise DataError(
            "AdapterMismatch", f"adapter {wish.name} has no two matrices of one rank for {module}"
        )
    name, stored = base
    across = (first.shape[1], second.shape[0])
    turned = embedding or (bool(config.get("fan_in_fan_out")) and across == stored.shape)
    _refuse_shape(wish, name, stored.shape, across if turned else (second.shape[0], first.shape[1]))
    return Change(wish.weight * scaling(config, module, first.shape[0]), first, second, turned, embedding)


def scaling(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return alpha / r, or alpha / sqrt(r) with ``use_rslora``; DataError NotAnAdapter when it can't be.

    ``alpha_pattern`` names modules by the end of their name or a regular expression for it
    (``get_pattern_key`` of PEFT); the first that fits counts.
    """
    pattern = config.get("alpha_pattern")
    alpha = config.get("lora_alpha")
    if pattern and len(module) > PATTERN_LIMIT:
        raise DataError("NotAnAdapter", f"the adapter has a module of {len(module)} characters")
    for key, value in pattern.items() if isinstance(pattern, dict) else ():
        require_pattern("alpha_pattern", key)
        if re.fullmatch(rf"(.*\.)?({key})", module):
            alpha = value
            break
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not math.isfinite(alpha):
        raise DataError("NotAnAdapter", f"{ADAPTER_CONFIG} has no lora_alpha that is a number")
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def changes_of(wishes: Iterable[Wish], base: Mapping[str, Stored]) -> dict[str, list[Change]]:
    """Return what all adapters do to each tensor, in their order."""
    found: dict[str, list[Change]] = {}
    for wish in wishes:
        for name, change in read_changes(wish, base).items():
            found.setdefault(name, []).append(change)
    return found
