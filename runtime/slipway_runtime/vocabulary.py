"""Which tokens a model knows, as a short hash: two models can only check each other's guesses if it is one.

Pure; called by inspection. Of tokenizer.json only the tokens are parsed: merges are the most of it, and a
small Job must hold them.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

FILE = "tokenizer.json"
LIMIT = 64 * 2**20
"""Bytes; the largest that is known has 33 million (Gemma 3)."""
DIGITS = 16
VOCAB = re.compile(rb'"vocab"\s*:\s*(?=[\[{])')
"""The model's own: a token of this name is followed by a number."""
ADDED = re.compile(rb'"added_tokens"\s*:\s*(?=\[)')
STEP = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def vocabulary(text: bytes) -> str:
    """Return 16 hex digits of the sha256 over every token with its number; empty when none is found.

    Args:
        text: a tokenizer.json of the tokenizers library: tokens by name, or in order with their scores.
    """
    try:
        tokens = _numbered(_part(text, VOCAB)) | _added(_part(text, ADDED))
    except (ValueError, TypeError, KeyError, IndexError):
        return ""
    ordered = sorted((number, token) for token, number in tokens.items())
    whole = json.dumps(ordered, separators=(",", ":")).encode()
    return hashlib.sha256(whole).hexdigest()[:DIGITS] if ordered else ""


def _part(text: bytes, name: re.Pattern[bytes]) -> Any:
    """The value behind a name; None when it is not there."""
    found = name.search(text)
    if found is None:
        return None
    depth = 0
    for step in STEP.finditer(text, found.end()):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(step[0], 0)
        if depth == 0:
            return json.loads(text[found.end() : step.end()])
    return None


def _numbered(found: Any) -> dict[str, int]:
    if isinstance(found, dict):
        return {str(token): int(number) for token, number in found.items()}
    return {str(entry[0]): number for number, entry in enumerate(found or ())}


def _added(found: Any) -> dict[str, int]:
    return {str(one["content"]): int(one["id"]) for one in found or ()}
