"""Tensors of safetensors files, read and packed a part at a time with NumPy. Called by lora and methods.

NumPy has no bfloat16: it is the upper half of a float32, rounded to the nearest, ties to even.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slipway_runtime.errors import DataError
from slipway_runtime.weights import PREFIX_BYTES, check_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PAIR: Final = 2
FLOATS: Final = {"BF16": 2, "F16": 2, "F32": 4}
"""Types that can be computed with, and their bytes."""
BITS: Final = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
}
"""Of an element, by safetensors' own list; of types that are not here only the order of bytes is checked."""
BLOCK: Final = 1 << 22
"""Elements that are looked at together: 16 MiB as float32."""
HALF: Final = 16
"""Bits by which a bfloat16 is shifted to be a float32."""


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies.

    Attributes:
        dtype: as safetensors names it.
        shape: of it.
        start: of its first byte in the file.
        end: after its last one.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def row_elements(self) -> int:
        """Elements of one row: of all but the first dimension."""
        size = 1
        for length in self.shape[1:]:
            size *= length
        return size


def read_tensors(path: Path) -> dict[str, Stored]:
    """Return the tensors of a safetensors file by name, in the order of their bytes.

    Raises:
        DataError: BrokenWeights, types, shapes and offsets don't agree, or bytes belong to two tensors or to
            none; TruncatedWeights.
    """
    check_weights(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(PREFIX_BYTES), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    data = PREFIX_BYTES + length
    found = {name: _stored(path, name, one, data) for name, one in header.items() if name != "__metadata__"}
    ordered = dict(sorted(found.items(), key=lambda item: (item[1].start, item[1].end)))
    for name, stored in ordered.items():
        if stored.start != data:
            raise DataError(
                "BrokenWeights",
                f"{path.name} has bytes before tensor {name} that belong to no tensor, or to two: its header "
                "is broken",
            )
        data = stored.end
    return ordered


def _stored(path: Path, name: str, entry: Mapping[str, Any], data: int) -> Stored:
    dtype, shape, offsets = str(entry["dtype"]), entry["shape"], entry["data_offsets"]
    counts = [*shape, *offsets]
    if len(offsets) == PAIR and all(type(one) is int and one >= 0 for one in counts):
        size = offsets[1] - offsets[0]
        if size >= 0 and (dtype not in BITS or 8 * size == math.prod(shape) * BITS[dtype]):
            return Stored(path, dtype, tuple(shape), data + offsets[0], data + offsets[1])
    raise DataError(
        "BrokenWeights",
        f"{path.name} says of tensor {name} that {shape} of {dtype} lie in bytes {offsets}: that can't be",
    )


def require_numbers(name: str, stored: Stored) -> None:
    """Refuse a tensor of floats that holds NaN, or as weight or bias infinity; others pass.

    Masks that some models keep among their weights hold infinity on purpose.

    Raises:
        DataError: InvalidWeights.
    """
    import numpy as np

    if stored.dtype not in FLOATS:
        return
    weights = name.endswith((".weight", ".bias"))
    total = (stored.end - stored.start) // FLOATS[stored.dtype]
    for start in range(0, total, BLOCK):
        values = read_floats(stored, start, min(BLOCK, total - start))
        if (~np.isfinite(values) if weights else np.isnan(values)).any():
            raise DataError(
                "InvalidWeights", f"{name} holds NaN or infinity: this revision of the model is damaged"
            )


def read_floats(stored: Stored, start: int = 0, count: int = -1) -> Floats:
    """Return elements of a tensor as float32, flat.

    Args:
        stored: the tensor.
        start: first element.
        count: how many; -1 for all that follow.

    Raises:
        DataError: NotFloats, it is no tensor of floats of 16 or 32 bits.
    """
    import numpy as np

    width = FLOATS.get(stored.dtype)
    if width is None:
        raise DataError(
            "NotFloats",
            f"{stored.path.name} has tensors of type {stored.dtype}: only weights of 16 or 32 bits can be "
            "changed. Name the model before it was quantised",
        )
    if count < 0:
        count = (stored.end - stored.start) // width - start
    kind: np.dtype[Any] = np.dtype({"BF16": "<u2", "F16": "<f2", "F32": "<f4"}[stored.dtype])
    raw = np.fromfile(stored.path, kind, count, offset=stored.start + start * width)
    return unpack(raw, stored.dtype)


def pack(values: Floats, dtype: str) -> NDArray[Any]:
    """Return elements in a tensor's own type, rounded to the nearest, ties to even; bfloat16 as its bits."""
    import numpy as np

    if dtype != "BF16":
        with np.errstate(over="ignore"):  # infinity is refused by whoever computed it
            return values.astype("<f2" if dtype == "F16" else "<f4")
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded: NDArray[Any] = ((bits + 0x7FFF + ((bits >> HALF) & 1)) >> HALF).astype("<u2")
    return rounded


def unpack(raw: NDArray[Any], dtype: str) -> Floats:
    """Return what ``pack`` made as float32."""
    import numpy as np

    if dtype != "BF16":
        return raw.astype(np.float32)
    return (raw.astype(np.uint32) << HALF).view(np.float32)
