"""What a GGUF file says of its model: metadata and tensors, by ranges, weights never. For gguf_facts.

Files come from strangers and go to engines written in C: what llama.cpp's own reader checks (gguf.cpp) is
checked here before a byte of weights moves, and once more when they have come.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from slipway_runtime.errors import DataError
from slipway_runtime.gguf_file import (
    ARRAY,
    NUMBERS,
    STRING,
    Cursor,
    array_head,
    decoded,
    open_metadata,
    skip_array,
    width,
)
from slipway_runtime.gguf_types import TENSOR_TYPES, TensorType

Value = int | float | str | tuple[int, ...]
TENSORS: Final = 131_072
"""Tensors of a file at most; DeepSeek-V3 has 1,100."""
NAME_LIMIT: Final = 256
"""Bytes of a tensor's name; ggml has room for 64."""
DIMENSIONS: Final = 4
"""``GGML_MAX_DIMS``."""
KEPT_TEXT: Final = 256
"""Bytes of a metadata text that is kept: names and licence ids; templates are longer."""
KEPT_ARRAYS: Final = 8192
"""Whole numbers in arrays that are kept, all together: some have one for each layer."""
WHOLE: Final = frozenset(NUMBERS) - {6, 12}
"""Types of numbers that are no floats."""
ALIGNMENT: Final = 32
"""Of the tensors' data, unless ``general.alignment`` says otherwise."""
ALIGNMENT_LIMIT: Final = 2**20
BLOCK: Final = re.compile(r"blk\.(\d{1,6})\..*")
ROUTED: Final = re.compile(r"blk\.\d+\.ffn_\w+_(exps|\d+)\..*")
"""Weights of routed experts: all of a layer in one tensor, in old files a tensor each."""
EMBEDDING: Final = "token_embd.weight"


@dataclass(frozen=True)
class GgufHeader:
    """What a file says before its weights.

    Attributes:
        metadata: numbers, short texts, short arrays of whole numbers by key.
        lengths: elements of every array by key.
        elements: weights by the name of their type, ``{"Q4_K": 5.2e9}``.
        routed: weights of routed experts.
        blocks: layers by the tensors' names.
        attends: some tensor belongs to an attention layer.
        embedding: shape of the token embedding, (hidden size, vocabulary); empty in a later part of a split.
    """

    metadata: Mapping[str, Value] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    elements: Mapping[str, int] = field(default_factory=dict)
    routed: int = 0
    blocks: int = 0
    attends: bool = False
    embedding: tuple[int, ...] = ()

    @property
    def parameters(self) -> int:
        """Weights of the file."""
        return sum(self.elements.values())


def read_header(cursor: Cursor) -> GgufHeader:
    """Return the header of a GGUF file, held against the file's size.

    Raises:
        DataError: BrokenWeights, it makes no sense or llama.cpp would refuse it; TruncatedWeights, the file
            is shorter than its tensors are.
    """
    tensors, pairs = open_metadata(cursor)
    kept = _Kept()
    for key, kind in pairs:
        if key in kept.values or key in kept.lengths:
            raise cursor.broken(f"the key {key[:64]!r} is there twice")
        kept.take(cursor, key, kind)
    tally = _Tally(_alignment(cursor, kept.values))
    if cursor.room(tensors, 32) > TENSORS:
        raise cursor.broken(f"{tensors} tensors, where {TENSORS} are the most")
    for _ in range(tensors):
        tally.take(cursor)
    tally.check_end(cursor)
    return GgufHeader(
        kept.values,
        kept.lengths,
        dict(tally.elements),
        tally.routed,
        tally.blocks,
        tally.attends,
        tally.embedding,
    )


class _Kept:
    """Metadata as far as it is kept: of long texts and arrays no more than how long they are."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.lengths: dict[str, int] = {}
        self.room = KEPT_ARRAYS

    def take(self, cursor: Cursor, key: str, kind: int) -> None:
        """Take the value of a key."""
        if kind == STRING:
            length = cursor.length()
            if length <= KEPT_TEXT:
                self.values[key] = decoded(cursor, cursor.take(length))
            else:
                cursor.skip(length)
                self.lengths[key] = length
        elif kind == ARRAY:
            self._array(cursor, key)
        else:
            width(cursor, kind)  # refuses what is no type
            self.values[key] = cursor.number(NUMBERS[kind])

    def _array(self, cursor: Cursor, key: str) -> None:
        inner, count = array_head(cursor)
        self.lengths[key] = count
        if inner in WHOLE and count <= self.room:
            self.room -= count
            self.values[key] = tuple(int(cursor.number(NUMBERS[inner])) for _ in range(count))
        else:
            skip_array(cursor, inner, count)


def _alignment(cursor: Cursor, metadata: Mapping[str, Value]) -> int:
    given = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(given, int) or not 0 < given <= ALIGNMENT_LIMIT or given & (given - 1):
        raise cursor.broken(f"general.alignment is {given!r}, no power of two up to {ALIGNMENT_LIMIT}")
    return given


class _Tally:
    """Sums over the tensors of one file, which lie one behind the other."""

    def __init__(self, alignment: int) -> None:
        self.alignment = alignment
        self.elements: Counter[str] = Counter()
        self.routed = self.blocks = 0
        self.next = self.end = 0
        self.attends = False
        self.embedding: tuple[int, ...] = ()

    def take(self, cursor: Cursor) -> None:
        """Take what the file says of its next tensor."""
        name = decoded(cursor, cursor.text(NAME_LIMIT))
        shape, kind = _shape(cursor, name), _type(cursor, name)
        if shape[0] % kind.block:
            raise cursor.broken(f"{name} has rows of {shape[0]}, no multiple of {kind.name}'s {kind.block}")
        count = math.prod(shape)
        size = count // kind.block * kind.bytes
        if size > cursor.size:
            raise _truncated(cursor, f"{name} alone has {count} weights")
        if cursor.length() != self.next:
            raise cursor.broken(f"{name} does not lie behind the tensor before it")
        self.end = self.next + size
        self.next = self._padded(self.end)
        self._add(name, shape, kind, count)

    def _add(self, name: str, shape: tuple[int, ...], kind: TensorType, count: int) -> None:
        self.elements[kind.name] += count
        if block := BLOCK.fullmatch(name):
            self.blocks = max(self.blocks, int(block[1]) + 1)
        if ROUTED.fullmatch(name):
            self.routed += count
        if name == EMBEDDING:
            self.embedding = shape
        self.attends = self.attends or ".attn" in name

    def check_end(self, cursor: Cursor) -> None:
        """Refuse a file that ends before its last tensor does; padding behind that may be missing."""
        end = self._padded(cursor.at) + self.end if self.end else cursor.at
        if end > cursor.size:
            raise _truncated(cursor, f"its own header accounts for {end}")

    def _padded(self, length: int) -> int:
        return -(-length // self.alignment) * self.alignment


def _shape(cursor: Cursor, name: str) -> tuple[int, ...]:
    dimensions = cursor.number("<I")
    if not 1 <= dimensions <= DIMENSIONS:
        raise cursor.broken(f"{name} has {dimensions} dimensions, not 1 to {DIMENSIONS}")
    shape = tuple(cursor.length() for _ in range(dimensions))
    if 0 in shape or max(shape) >= 2**63:
        raise cursor.broken(f"{name} has the shape {shape}")
    return shape


def _type(cursor: Cursor, name: str) -> TensorType:
    number = cursor.number("<I")
    if number not in TENSOR_TYPES:
        raise cursor.broken(f"{name} has type {number}, which llama.cpp has dropped, or not known yet")
    return TENSOR_TYPES[number]


def _truncated(cursor: Cursor, why: str) -> DataError:
    return DataError(
        "TruncatedWeights",
        f"{cursor.name} has {cursor.size} bytes but {why}: the upload of this revision is incomplete. Choose "
        "another revision, or ask its owner to upload it again",
    )
