"""One text out of a GGUF file's metadata, whatever the size of its vocabulary. Called by publish.

The ``gguf`` package's reader makes several array objects for every token and merge: 740 MiB and 11 s for a
vocabulary of Llama 3. This walks over what it isn't asked for.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from slipway_runtime.errors import DataError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value by its type: the numbers of ``enum gguf_type`` in llama.cpp's gguf.h."""
STRING, ARRAY = 8, 9


def read_text(path: Path, key: str) -> str:
    """Return the text under a key of the file's metadata, or an empty string when there is none.

    Raises:
        DataError: BrokenWeights, the file is no GGUF of version 2 or 3 (little-endian), or ends too early.
    """
    try:
        with path.open("rb") as file:
            return _search(file, key.encode())
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise DataError("BrokenWeights", f"{path} has unreadable metadata: {error}") from error


def _search(file: BinaryIO, wanted: bytes) -> str:
    if file.read(4) != MAGIC or _number(file, "<I") not in VERSIONS:
        raise DataError("BrokenWeights", f"{file.name} is no GGUF file of version 2 or 3")
    _tensors, pairs = _number(file, "<Q"), _number(file, "<Q")
    for _ in range(pairs):
        key, kind = _text(file), _number(file, "<I")
        if key == wanted and kind == STRING:
            return _text(file).decode()
        _skip(file, kind)
    return ""


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == STRING:
        file.seek(_number(file, "<Q"), 1)
    elif kind == ARRAY:
        inner, count = _number(file, "<I"), _number(file, "<Q")
        if inner in WIDTHS:
            file.seek(WIDTHS[inner] * count, 1)
        else:
            for _ in range(count):
                _skip(file, inner)
    else:
        file.seek(WIDTHS[kind], 1)


def _number(file: BinaryIO, layout: str) -> int:
    value: int = struct.unpack(layout, file.read(struct.calcsize(layout)))[0]
    return value


def _text(file: BinaryIO) -> bytes:
    length = _number(file, "<Q")
    text = file.read(length)
    if len(text) < length:
        raise struct.error("it ends in the middle of a text")
    return text
