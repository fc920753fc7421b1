"""A tokenizer for the load tool, made of a GGUF file's vocabulary. Called by benchmark.

The tool wants it to make prompts of so many tokens; what the server counts is its own. So the rules by which
a family splits words are left to the usual ones, which moves a prompt's length by a few percent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from slipway_runtime.errors import DataError
from slipway_runtime.gguf_file import read_text, read_texts

TOKENS, MERGES, MODEL = (f"tokenizer.ggml.{name}" for name in ("tokens", "merges", "model"))
SPACE: Final = "\u2581"
"""Stands for a blank in vocabularies of SentencePiece."""


def write_tokenizer(model: Path, folder: Path) -> Path:
    """Write ``tokenizer.json`` and its configuration as transformers loads them, and return the folder.

    Raises:
        DataError: BrokenWeights, the file has no vocabulary.
    """
    texts = read_texts(model, (TOKENS, MERGES))
    tokens, merges = texts.get(TOKENS, []), texts.get(MERGES, [])
    if not tokens:
        raise DataError("BrokenWeights", f"{model.name} has no vocabulary ({TOKENS})")
    byte_level = read_text(model, MODEL) == "gpt2"
    built = _byte_level(tokens, merges) if byte_level else _pieces(tokens)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "tokenizer.json": {"version": "1.0", "added_tokens": [], **built},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
        "config.json": {"model_type": "gpt2"},
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def _byte_level(tokens: list[str], merges: list[str]) -> dict[str, Any]:
    """BPE over bytes, as GPT-2, Llama 3, Qwen."""
    numbers = {token: number for number, token in enumerate(tokens)}
    pairs = (merge.split(" ", 1) for merge in merges)
    known = [pair for pair in pairs if len(pair) == 2 and {*pair, "".join(pair)} <= numbers.keys()]  # noqa: PLR2004
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "pre_tokenizer": step,
        "decoder": step,
        "model": {"type": "BPE", "vocab": numbers, "merges": known},
    }


def _pieces(tokens: list[str]) -> dict[str, Any]:
    """Pieces of words, as SentencePiece has them: the longest are taken first."""
    scores = [[token, -1.0 / max(1, len(token))] for token in dict.fromkeys(tokens)]
    step = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    return {
        "pre_tokenizer": step,
        "decoder": step,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": scores, "byte_fallback": False},
    }
