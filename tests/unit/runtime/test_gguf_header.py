"""A GGUF header tells the model; whatever a stranger puts into one, it ends in a refusal, soon and small."""

from __future__ import annotations

import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_runtime import gguf_file
from slipway_runtime.errors import DataError
from slipway_runtime.gguf_file import Cursor, file_cursor, read_text, read_texts
from slipway_runtime.gguf_header import GgufHeader, read_header
from slipway_runtime.gguf_types import FILE_TYPES, TENSOR_TYPES
from tests.support.gguf_models import LLAMA_7B, SMALL, raw, text, write_gguf

HUGE = (1 << 64) - 1
SOON_S = 2.0
KEY = text("k")
TENSOR = text("blk.0.attn_q.weight") + struct.pack("<IQQIQ", 2, 256, 256, 12, 0)
BOMB = KEY + b"".join(struct.pack("<IIQ", 9, 9, 1)[0 if not level else 4 :] for level in range(50_000))
"""Arrays in arrays, as deep as there are bytes."""


def parse(content: bytes) -> GgufHeader:
    return read_header(Cursor("x.gguf", len(content), lambda start, length: content[start : start + length]))


def uint32(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def test_a_header_says_what_the_model_is_and_no_weight_is_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "7b.gguf", "Q4_K_M", LLAMA_7B)
    asked = []

    def read(start: int, length: int) -> bytes:
        asked.append((start, length))
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    header = read_header(Cursor(path.name, path.stat().st_size, read))
    assert header.parameters == LLAMA_7B.parameters
    assert header.elements == {"Q4_K": LLAMA_7B.parameters}
    assert (header.blocks, header.attends, header.embedding) == (32, True, (4096, 32000))
    assert header.lengths["tokenizer.ggml.tokens"] == 32000
    assert header.metadata["llama.attention.head_count"] == 32
    assert sum(length for _, length in asked) < 2_000_000 < path.stat().st_size
    assert asked == sorted(asked), "each byte once, forward"


def test_the_tables_are_the_gguf_package_s() -> None:
    package = {int(kind): (kind.name, *GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType}
    assert {number: tuple(kind) for number, kind in TENSOR_TYPES.items()} == package
    names = {int(one): one.name.removeprefix("MOSTLY_").removeprefix("ALL_") for one in LlamaFileType}
    del names[int(LlamaFileType.GUESSED)]
    assert names == FILE_TYPES


def test_padding_behind_the_last_tensor_may_be_missing(tmp_path: Path) -> None:
    content = write_gguf(tmp_path / "a.gguf", "Q8_0").read_bytes()
    assert parse(content).parameters == SMALL.parameters
    assert parse(content + b"\0" * 5).parameters == SMALL.parameters


@pytest.mark.parametrize("keep", [0, 3, 4, 20, 24, 60, 300, 1500])
def test_a_cut_header_is_refused(tmp_path: Path, keep: int) -> None:
    content = write_gguf(tmp_path / "a.gguf", "Q8_0").read_bytes()
    with pytest.raises(DataError) as caught:
        parse(content[:keep])
    assert caught.value.reason == "BrokenWeights"


def test_cut_weights_are_refused(tmp_path: Path) -> None:
    content = write_gguf(tmp_path / "a.gguf", "Q8_0").read_bytes()
    with pytest.raises(DataError) as caught:
        parse(content[:-1])
    assert caught.value.reason == "TruncatedWeights"


HOSTILE = {
    "another format": (b"PK\3\4" + b"\0" * 60, "no GGUF"),
    "version 1": (raw(version=1) + b"\0" * 60, "version 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "little-endian"),
    "keys without end": (raw(KEY, counts=(0, HUGE)), "more than it has room"),
    "many keys": (raw(b"\0" * 13 * 20_000, counts=(0, 20_000)), "16384 are the most"),
    "tensors without end": (raw(TENSOR, counts=(HUGE, 0)), "more than it has room"),
    "many tensors": (raw(b"\0" * 32 * 140_000, counts=(140_000, 0)), "131072 are the most"),
    "a key without end": (raw(struct.pack("<Q", HUGE), counts=(0, 1)) + b"\0" * 60, "65535 are the most"),
    "a text without end": (raw(KEY + struct.pack("<IQ", 8, HUGE), counts=(0, 1)), "the file ends"),
    "an array without end": (raw(KEY + struct.pack("<IIQ", 9, 8, HUGE), counts=(0, 1)), "more than it has"),
    "an array of bytes without end": (
        raw(KEY + struct.pack("<IIQ", 9, 0, 1 << 62), counts=(0, 1)),
        "more than it has room",
    ),
    "a text that wraps around": (
        raw(KEY + struct.pack("<IIQ", 9, 8, 2) + struct.pack("<Q", HUGE - 7) * 2, counts=(0, 1)),
        "the file ends",
    ),
    "arrays in each other": (raw(BOMB, counts=(0, 1)), "deeper than 4"),
    "no such type": (raw(KEY + struct.pack("<I", 77), counts=(0, 1)) + b"\0" * 40, "type 77"),
    "a key twice": (raw(uint32("k", 1) * 2, counts=(0, 2)), "there twice"),
    "no UTF-8": (raw(struct.pack("<Q", 1) + b"\xff" + struct.pack("<II", 4, 1), counts=(0, 1)), "no UTF-8"),
    "alignment 0": (raw(uint32("general.alignment", 0), counts=(0, 1)), "no power of two"),
    "alignment 3": (raw(uint32("general.alignment", 3), counts=(0, 1)), "no power of two"),
    "alignment 2^31": (raw(uint32("general.alignment", 1 << 31), counts=(0, 1)), "no power of two"),
    "no dimensions": (raw(b"", text("t") + struct.pack("<IIQ", 0, 0, 0), (1, 0)) + b"\0" * 9, "0 dimensions"),
    "many dimensions": (raw(b"", text("t") + struct.pack("<I", 5), (1, 0)) + b"\0" * 40, "5 dimensions"),
    "a dimension of 0": (raw(b"", text("t") + struct.pack("<IQIQ", 1, 0, 0, 0), (1, 0)), "the shape"),
    "a dimension of 2^63": (
        raw(b"", text("t") + struct.pack("<IQIQ", 1, 1 << 63, 0, 0), (1, 0)),
        "the shape",
    ),
    "a product beyond 64 bits": (
        raw(b"", text("t") + struct.pack("<IQQQQIQ", 4, *(1 << 32,) * 4, 0, 0), (1, 0)),
        "alone has",
    ),
    "a dropped type": (
        raw(b"", text("t") + struct.pack("<IQIQ", 1, 32, 4, 0), (1, 0)),
        "llama.cpp has dropped",
    ),
    "ragged rows": (raw(b"", text("t") + struct.pack("<IQIQ", 1, 100, 12, 0), (1, 0)), "no multiple"),
    "a name without end": (raw(b"", struct.pack("<Q", HUGE), (1, 0)) + b"\0" * 40, "256 are the most"),
    "an offset elsewhere": (
        raw(b"", text("t") + struct.pack("<IQIQ", 1, 1, 0, HUGE), (1, 0)) + b"\0" * 64,
        "does not lie behind",
    ),
    "tensors on each other": (
        raw(b"", (text("t") + struct.pack("<IQIQ", 1, 1, 0, 0)) * 2, (2, 0)) + b"\0" * 64,
        "does not lie behind",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_at_once_and_in_little_memory(name: str) -> None:
    content, words = HOSTILE[name]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=words) as caught:
        parse(content)
    assert caught.value.reason in {"BrokenWeights", "TruncatedWeights"}
    assert time.monotonic() - began < SOON_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "KiB"


def test_a_source_that_gives_nothing_ends_it() -> None:
    with pytest.raises(DataError, match="nothing comes"):
        read_header(Cursor("x.gguf", 1 << 40, lambda _start, _length: b""))


def test_metadata_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_file, "READ_LIMIT", 4 << 20)
    total = 0
    head = raw(KEY + struct.pack("<IIQ", 9, 8, 1 << 40), counts=(0, 1))

    def read(start: int, length: int) -> bytes:
        nonlocal total
        total += length
        return head[start : start + length].ljust(length, b"\0")  # empty texts, for ever

    with pytest.raises(DataError, match="more than 4 MiB before the first weight"):
        read_header(Cursor("x.gguf", 1 << 50, read))
    assert total <= (4 << 20) + gguf_file.STEP


def read_all(path: Path) -> list[Callable[[], object]]:
    return [
        lambda: read_header(file_cursor(path)),
        lambda: read_text(path, "tokenizer.chat_template"),
        lambda: read_texts(path, ("tokenizer.ggml.tokens",)),
    ]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_anywhere_it_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes overwritten, cut, doubled: nothing but a header or a DataError comes of it."""
    whole = WHOLE or WHOLE.append(_small(tmp_path_factory)) or WHOLE
    content = bytearray(whole[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=9))
        content[at : at + len(piece)] = piece
    path = tmp_path_factory.mktemp("gguf") / "x.gguf"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    for read in read_all(path):
        reason = ""
        try:
            read()
        except DataError as error:
            reason = error.reason
        assert reason in {"", "BrokenWeights", "TruncatedWeights"}


WHOLE: list[bytes] = []


def _small(factory: pytest.TempPathFactory) -> bytes:
    content = write_gguf(factory.mktemp("whole") / "a.gguf", "Q8_0").read_bytes()
    return content[: content.index(b"blk.1.ffn_down.weight") + 200]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 40), st.integers(0, 40))
def test_any_bytes_behind_a_right_beginning(content: bytes, tensors: int, pairs: int) -> None:
    try:
        header = parse(raw(content, counts=(tensors, pairs)))
    except DataError:
        return
    assert header.parameters <= 8 * (len(content) + 24) * 2
