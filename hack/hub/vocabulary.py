"""Turns the vocabulary inside a GGUF file into the tokenizer files of a Hugging Face repository.

Called by model.py. Pure apart from `read_vocabulary`: same vocabulary in, same bytes out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gguf

if TYPE_CHECKING:
    from pathlib import Path

CONTROL = int(gguf.TokenType.CONTROL)


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE vocabulary: tokens by id, merges by rank, which ids are control tokens."""

    tokens: tuple[str, ...]
    merges: tuple[str, ...]
    control: frozenset[int]
    bos: int
    eos: int
    unknown: int
    padding: int
    chat_template: str


def read_vocabulary(path: Path) -> Vocabulary:
    """Read the tokenizer of a GGUF file; KeyError when it has none of the byte-level BPE kind."""
    fields = gguf.GGUFReader(path).fields

    def value(name: str) -> Any:
        return fields[f"tokenizer.{name}"].contents()

    kinds = value("ggml.token_type")
    return Vocabulary(
        tokens=tuple(value("ggml.tokens")),
        merges=tuple(value("ggml.merges")),
        control=frozenset(i for i, kind in enumerate(kinds) if kind == CONTROL),
        bos=value("ggml.bos_token_id"),
        eos=value("ggml.eos_token_id"),
        unknown=value("ggml.unknown_token_id"),
        padding=value("ggml.padding_token_id"),
        chat_template=value("chat_template"),
    )


def build_tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return tokenizer.json's content for the `tokenizers` library.

    Digits are split one by one before the byte-level step: that is GGUF's pre-tokenizer "smollm".
    """
    digits = {"type": "Digits", "individual_digits": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(i, vocabulary.tokens[i]) for i in sorted(vocabulary.control)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(vocabulary.tokens)},
            "merges": [merge.split(" ", 1) for merge in vocabulary.merges],
        },
    }


def build_tokenizer_config(vocabulary: Vocabulary, context: int) -> dict[str, Any]:
    """Return tokenizer_config.json's content; `context` is in tokens."""
    tokens = vocabulary.tokens
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(i): {key: value for key, value in _added_token(i, tokens[i]).items() if key != "id"}
            for i in sorted(vocabulary.control)
        },
        "bos_token": tokens[vocabulary.bos],
        "chat_template": vocabulary.chat_template,
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[vocabulary.eos],
        "model_max_length": context,
        "pad_token": tokens[vocabulary.padding],
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": tokens[vocabulary.unknown],
        "vocab_size": len(tokens),
    }


def build_special_tokens(vocabulary: Vocabulary) -> dict[str, str]:
    """Return special_tokens_map.json's content."""
    tokens = vocabulary.tokens
    return {
        "bos_token": tokens[vocabulary.bos],
        "eos_token": tokens[vocabulary.eos],
        "pad_token": tokens[vocabulary.padding],
        "unk_token": tokens[vocabulary.unknown],
    }


def to_json(content: object) -> str:
    """Return JSON text as the hub's repositories have it: two spaces, UTF-8, a newline at the end."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _added_token(number: int, content: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": content, **flags}
