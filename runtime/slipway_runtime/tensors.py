"""Tensors of safetensors files, read and packed a part at a time with NumPy. Called by lora and methods.

NumPy has no bfloat16: it is the upper half of a float32, rounded to the nearest, ties to even.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slipway_runtime.errors import DataError
from slipway_runtime.weights import PREFIX_BYTES, check_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FLOATS: Final = {"BF16": 2, "F16": 2, "F32": 4}
"""Types that can be computed with, and their bytes."""
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
        DataError: BrokenWeights or TruncatedWeights.
    """
    check_weights(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(PREFIX_BYTES), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    data = PREFIX_BYTES + length
    found = {
        name: Stored(
            path,
            str(one["dtype"]),
            tuple(one["shape"]),
            data + one["data_offsets"][0],
            data + one["data_offsets"][1],
        )
        for name, one in header.items()
        if name != "__metadata__"
    }
    return dict(sorted(found.items(), key=lambda item: item[1].start))


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
