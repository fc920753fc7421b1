"""GGUF's metadata, walked over with nothing believed that it claims. Called by gguf_header and publish.

The ``gguf`` package's reader maps whole files and makes several array objects for every token and merge:
740 MiB and 11 s for a vocabulary of Llama 3. This reads ranges, and walks over what it isn't asked for. Files
come from strangers: no length is allocated, and no count looped over, that the rest of the file can't hold.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from slipway_runtime.errors import DataError

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
NUMBERS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
"""Layout of a value by its type: the numbers of ``enum gguf_type`` in llama.cpp's gguf.h."""
WIDTHS: Final = {kind: struct.calcsize(layout) for kind, layout in NUMBERS.items()}
STRING, ARRAY = 8, 9
KEY_LIMIT: Final = 65_535
"""Bytes of a key, by the format's specification."""
TEXT_LIMIT: Final = 4 * 2**20
"""Bytes of a text that is read; longer ones are walked over. Chat templates have up to 100 kB."""
PAIRS: Final = 16_384
"""Keys at most; files have up to a hundred."""
DEPTH: Final = 4
"""Arrays inside each other; llama.cpp itself refuses any."""
FIRST_STEP, STEP = 256 * 2**10, 8 * 2**20
"""Bytes of the first read, and of one at most: each is twice the one before it. A part of a split file says
all in 100 kB, a whole one has its vocabulary before its tensors: 4 to 30 MB."""
READ_LIMIT: Final = 64 * 2**20
"""Bytes of metadata that are read of one file: four times what the largest vocabulary has, Gemma 3's."""

Read = Callable[[int, int], bytes]
"""``read(start, length)`` gives up to so many bytes."""


class Cursor:
    """A place in a file of known size, moving forward only; its methods raise DataError BrokenWeights."""

    def __init__(self, name: str, size: int, read: Read) -> None:
        self.name, self.size, self.at = name, size, 0
        self._read, self._step, self._total = read, FIRST_STEP, 0
        self._buffer, self._start = b"", 0

    def take(self, length: int) -> bytes:
        """The next bytes."""
        self._need(length)
        if length > TEXT_LIMIT:
            raise self.broken(f"a text of {length} bytes")
        offset = self._loaded(length)
        self.at += length
        return self._buffer[offset : offset + length]

    def skip(self, length: int) -> None:
        """Walk over bytes; what was not read yet never is."""
        self._need(length)
        self.at += length

    def number(self, layout: str) -> int:
        """The next number, by its layout of ``struct``."""
        value: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value

    def length(self) -> int:
        """A length or a count: 64 bits."""
        return self.number("<Q")

    def text(self, limit: int = TEXT_LIMIT) -> bytes:
        """The next text; longer ones than the limit are an error."""
        length = self.length()
        if length > limit:
            raise self.broken(f"a text of {length} bytes where {limit} are the most")
        return self.take(length)

    def skip_texts(self, count: int) -> None:
        """Walk over so many texts: the vocabulary, hundreds of thousands."""
        for _ in range(count):
            self.skip(self.length())

    def room(self, count: int, least: int) -> int:
        """The count, if the rest of the file can hold so many things of ``least`` bytes each."""
        if count > (self.size - self.at) // least:
            raise self.broken(f"it claims {count} entries, more than it has room for")
        return count

    def broken(self, what: str) -> DataError:
        """What is wrong, at which byte."""
        return DataError("BrokenWeights", f"{self.name} has unreadable metadata at byte {self.at}: {what}")

    def _need(self, length: int) -> None:
        if length > self.size - self.at:
            raise self.broken(f"the file ends at byte {self.size}, in the middle of {length} bytes")

    def _loaded(self, length: int) -> int:
        """Where the next bytes begin in the buffer; reads what is missing."""
        offset = self.at - self._start
        if offset > len(self._buffer):  # walked over: the bytes between are not asked for
            self._buffer, self._start, offset = b"", self.at, 0
        while offset + length > len(self._buffer):
            self._buffer, self._start, offset = self._buffer[offset:], self.at, 0
            self._more()
        return offset

    def _more(self) -> None:
        behind = self._start + len(self._buffer)
        piece = self._read(behind, min(self._step, self.size - behind))
        self._total += len(piece)
        if not piece:
            raise self.broken("nothing comes any more")
        if self._total > READ_LIMIT:
            raise self.broken(f"more than {READ_LIMIT >> 20} MiB before the first weight")
        self._buffer += piece
        self._step = min(2 * self._step, STEP)


def open_metadata(cursor: Cursor) -> tuple[int, Iterator[tuple[str, int]]]:
    """Return the number of tensors, and each key with its value's type; the caller takes the value.

    Raises:
        DataError: BrokenWeights, the file is no GGUF of version 2 or 3 (little-endian), or claims too much.
    """
    if cursor.size < len(MAGIC) + 20 or cursor.take(4) != MAGIC or cursor.number("<I") not in VERSIONS:
        raise DataError(
            "BrokenWeights",
            f"{cursor.name} is no GGUF file of version 2 or 3 (little-endian): make it anew with a llama.cpp "
            "of today",
        )
    tensors, pairs = cursor.length(), cursor.length()
    if cursor.room(pairs, 13) > PAIRS:
        raise cursor.broken(f"{pairs} keys, where {PAIRS} are the most")
    return tensors, _pairs(cursor, pairs)


def _pairs(cursor: Cursor, count: int) -> Iterator[tuple[str, int]]:
    for _ in range(count):
        key = cursor.text(KEY_LIMIT)
        yield decoded(cursor, key), cursor.number("<I")


def decoded(cursor: Cursor, text: bytes) -> str:
    """A text that has to be UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise cursor.broken(f"a text is no UTF-8: {error}") from error


def skip_value(cursor: Cursor, kind: int, depth: int = 0) -> None:
    """Walk over a value."""
    if kind == STRING:
        cursor.skip(cursor.length())
    elif kind == ARRAY:
        skip_array(cursor, *array_head(cursor), depth)
    else:
        cursor.skip(width(cursor, kind))


def array_head(cursor: Cursor) -> tuple[int, int]:
    """Type of an array's elements, and how many there are: no more than the file has room for."""
    inner = cursor.number("<I")
    least = {STRING: 8, ARRAY: 12}.get(inner) or width(cursor, inner)
    return inner, cursor.room(cursor.length(), least)


def skip_array(cursor: Cursor, inner: int, count: int, depth: int = 0) -> None:
    """Walk over an array's elements."""
    if inner == STRING:
        cursor.skip_texts(count)
    elif inner != ARRAY:
        cursor.skip(count * width(cursor, inner))
    elif depth >= DEPTH:
        raise cursor.broken(f"arrays in each other, deeper than {DEPTH}")
    else:
        for _ in range(count):
            skip_value(cursor, ARRAY, depth + 1)


def width(cursor: Cursor, kind: int) -> int:
    """Bytes of a number."""
    if kind not in WIDTHS:
        raise cursor.broken(f"a value of type {kind}, which there is not")
    return WIDTHS[kind]


def file_cursor(path: Path) -> Cursor:
    """A cursor over a local file."""

    def read(start: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    return Cursor(path.name, path.stat().st_size, read)


def read_text(path: Path, key: str) -> str:
    """Return the text under a key of the file's metadata, or an empty string when there is none.

    Raises:
        DataError: BrokenWeights, the file is no GGUF of version 2 or 3 (little-endian), or ends too early.
    """
    cursor = file_cursor(path)
    _, pairs = open_metadata(cursor)
    for name, kind in pairs:
        if name == key and kind == STRING:
            return decoded(cursor, cursor.text())
        skip_value(cursor, kind)
    return ""


def read_texts(path: Path, keys: tuple[str, ...]) -> dict[str, list[str]]:
    """Return arrays of texts by their key: tokens, merges; a key that is absent is left out."""
    cursor = file_cursor(path)
    found: dict[str, list[str]] = {}
    _, pairs = open_metadata(cursor)
    for name, kind in pairs:
        if kind != ARRAY or name not in keys:
            skip_value(cursor, kind)
            continue
        inner, count = array_head(cursor)
        if inner != STRING:
            raise cursor.broken(f"{name} holds no texts")
        found[name] = [cursor.text(KEY_LIMIT).decode(errors="replace") for _ in range(count)]
    return found
