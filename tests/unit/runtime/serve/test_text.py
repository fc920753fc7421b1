"""Half characters and half stop sequences never leave."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_runtime.serve.text import LONGEST_WAIT, Detokenizer, StopScanner, TextStream


def decode_bytes(tokens: Sequence[int]) -> str:
    return bytes(tokens).decode(errors="replace")


def decode_words(tokens: Sequence[int]) -> str:
    """Like sentencepiece: every token is a word with a space before it, which the first one loses."""
    return " ".join(f"w{token}" for token in tokens)


def test_an_emoji_of_four_tokens_comes_whole() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert [detokenizer.feed(byte) for byte in "a🚢b".encode()] == ["a", "", "", "", "🚢", "b"]


def test_an_emoji_of_a_family_keeps_its_joiners() -> None:
    detokenizer = Detokenizer(decode_bytes)
    family = "👩‍👩‍👧"
    assert "".join(detokenizer.feed(byte) for byte in family.encode()) == family


def test_a_half_character_at_the_end_is_said_when_nothing_follows() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert [detokenizer.feed(byte) for byte in "🚢".encode()[:2]] == ["", ""]
    assert detokenizer.flush() == "\ufffd"
    assert detokenizer.flush() == ""


def test_bytes_that_never_become_a_character_are_not_held_for_ever() -> None:
    detokenizer = Detokenizer(decode_bytes)
    said = [detokenizer.feed(0x80) for _ in range(LONGEST_WAIT)]
    assert said == [""] * (LONGEST_WAIT - 1) + ["\ufffd" * LONGEST_WAIT]


def test_spaces_between_words_are_kept() -> None:
    detokenizer = Detokenizer(decode_words)
    assert [detokenizer.feed(token) for token in (1, 2, 3)] == ["w1", " w2", " w3"]


@given(st.text(max_size=60))
def test_pieces_make_the_whole_text(text: str) -> None:
    stream = TextStream(decode_bytes, ())
    pieces = [stream.feed(byte) for byte in text.encode()]
    assert "".join(pieces) + stream.flush() == text


@pytest.mark.parametrize(
    ("stops", "pieces", "said"),
    [
        (["END"], ["a", "E", "N", "D", "b"], ["a", "", "", "", ""]),
        (["END"], ["aEN", "ough"], ["a", "ENough"]),
        (["\n\n"], ["a\n", "\nb"], ["a", ""]),
        (["aab"], ["aa", "aab"], ["", "aa"]),
        (["xyz", "y"], ["axyz"], ["a"]),
        (["."], ["Paris. And"], ["Paris"]),
        ([], ["Paris."], ["Paris."]),
    ],
)
def test_stops_over_pieces(stops: list[str], pieces: list[str], said: list[str]) -> None:
    scanner = StopScanner(stops)
    assert [scanner.feed(piece) for piece in pieces] == said


def test_what_was_held_back_is_said_at_the_end() -> None:
    scanner = StopScanner(["END"])
    assert scanner.feed("the EN") == "the "
    assert (scanner.flush(), scanner.stopped) == ("EN", False)


@given(
    st.lists(st.text(alphabet="ab\n", max_size=4), max_size=12),
    st.text(alphabet="ab\n", min_size=1, max_size=3),
)
def test_stopping_equals_cutting_the_whole_text(pieces: list[str], stop: str) -> None:
    scanner = StopScanner([stop])
    said = "".join(scanner.feed(piece) for piece in pieces) + scanner.flush()
    assert said == "".join(pieces).split(stop)[0]
    assert scanner.stopped == (stop in "".join(pieces))


def test_a_stop_that_is_an_emoji() -> None:
    stream = TextStream(decode_bytes, ["🚢"])
    assert "".join(stream.feed(byte) for byte in "a ⚓ 🚢 b".encode()) == "a ⚓ "
    assert stream.stopped
