"""How many weights share a scale: what divides every quantised layer. Called by ``_compressed``.

A group that divides nothing would end hours of calibration: it is refused by the headers alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from slipway_runtime.errors import DataError, RequestError

GROUPS: Final = (128, 64, 32)
"""Sizes that are tried when none is named, the usual first: those that engines have kernels for."""
IGNORED: Final = (
    "lm_head",
    r"re:.*\.gate$",
    r"re:.*(router|shared_expert_gate)$",
    r"re:.*(vision|visual|image|audio|multi_modal_projector).*",
)
"""llmcompressor's ``ignore``: output, what chooses experts, what reads pictures stay at 16 bits."""
LAYER: Final = re.compile(
    r"(?!.*(embed|wte|wpe|lm_head|\.gate\.|router|shared_expert_gate|vision|visual|image|audio"
    r"|multi_modal_projector))(.+)\.weight"
)
"""Tensors of layers that are quantised, by name; of those with two dimensions."""
MATRIX: Final = 2


def input_sizes(folder: Path) -> Mapping[int, str]:
    """Return the input features of all layers that are quantised, each with the first layer of that size.

    Raises:
        DataError: NoWeights, there is none.
    """
    from safetensors import safe_open

    found: dict[int, str] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - no mapping
                shape = tensors.get_slice(name).get_shape()
                if LAYER.fullmatch(name) and len(shape) == MATRIX:
                    found.setdefault(shape[-1], name)
    if not found:
        raise DataError("NoWeights", "the model has no linear layer that could be quantised")
    return found


def choose_group(sizes: Mapping[int, str], named: int | None) -> int:
    """Return the size of groups: the one named, else the largest usual one that divides every layer.

    Args:
        sizes: of ``input_sizes``.
        named: by the user; None leaves it open.

    Raises:
        RequestError: GroupSize, the named one leaves a rest in some layer, or none of the usual ones fits.
    """
    dividing = [group for group in GROUPS if not uneven(sizes, group)]
    if named is None and dividing:
        return dividing[0]
    wanted = (named,) if named else GROUPS
    rest = uneven(sizes, wanted[-1])
    if not rest:
        return wanted[-1]
    hint = f"use {' or '.join(map(str, dividing))}" if dividing else "use int8 or fp8, which have none"
    raise RequestError(
        "GroupSize",
        f"groups of {' or '.join(map(str, wanted))} weights don't divide {rest} ({sizes[rest]} reads {rest} "
        f"features): {hint} (spec.optimize.groupSize)",
    )


def require_group(sizes: Mapping[int, str], group: int, level: str) -> None:
    """Refuse a model whose layers a format's own groups don't divide; RequestError GroupSize."""
    if rest := uneven(sizes, group):
        raise RequestError(
            "GroupSize",
            f"{level} has groups of {group} weights, which don't divide {rest} ({sizes[rest]}): use another "
            "method, such as int8 or fp8",
        )


def uneven(sizes: Mapping[int, str], group: int) -> int:
    """Return the first size that groups leave a rest of; 0 when there is none."""
    return next((size for size in sizes if size % group), 0)
