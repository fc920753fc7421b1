"""Tokens to text, piece by piece: no half character and no half stop sequence ever leaves. Pure.

Used by the engine, one `TextStream` a request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

HALF_CHARACTER = "\ufffd"
"""What a decoder writes for bytes that are no whole UTF-8 character (yet)."""
LONGEST_WAIT = 16
"""Tokens after which text that still ends in a half character is taken as what the model meant."""


class Detokenizer:
    """Decodes a growing list of tokens; a character whose bytes are split over tokens comes when it is whole.

    The text of a token depends on its neighbours (spaces, bytes), so the last piece's tokens are decoded
    again before the new ones, and what both have in common is cut off.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._context = 0
        """First token of the last piece, decoded again for its neighbours' sake."""
        self._said = 0
        """First token whose text has not left yet."""

    def feed(self, token: int) -> str:
        """Return the text that this token completes; often nothing."""
        self._tokens.append(token)
        text = self._pending()
        if text.endswith(HALF_CHARACTER) and len(self._tokens) - self._said < LONGEST_WAIT:
            return ""
        if text:
            self._context, self._said = self._said, len(self._tokens)
        return text

    def flush(self) -> str:
        """Return what is left when no token follows, half characters included."""
        text = self._pending()
        self._context = self._said = len(self._tokens)
        return text

    def _pending(self) -> str:
        """Text of the tokens that have not left yet."""
        before = self._decode(self._tokens[self._context : self._said])
        return self._decode(self._tokens[self._context :])[len(before) :]


class StopScanner:
    """Finds the first stop sequence in a growing text, also when it is split over pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Return what can leave: all before a stop sequence, less an end that may be the start of one."""
        if self.stopped:
            return ""
        text = self._held + text
        found = [at for at in map(text.find, self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = self._longest_start(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return what was held back, when no text follows."""
        text, self._held = self._held, ""
        return text

    def _longest_start(self, text: str) -> int:
        """Length of the longest end of the text with which a stop sequence starts."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)


class TextStream:
    """The text of one answer: tokens in, pieces out, ended by a stop sequence or by the model."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._detokenizer = Detokenizer(decode)
        self._scanner = StopScanner(stops)

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence was found: nothing more will come."""
        return self._scanner.stopped

    def feed(self, token: int) -> str:
        """Return the piece that this token lets out; often nothing."""
        return self._scanner.feed(self._detokenizer.feed(token))

    def flush(self) -> str:
        """Return the rest, when no token follows."""
        last = self._scanner.feed(self._detokenizer.flush())
        return last + self._scanner.flush()
