"""The figures of config.json under one name each, whatever the family calls them. Pure.

Called by the facts of the inspect Job and by the operator's ``plan.model_config``, so that both read alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num", "kv_n_heads"),
    "head_dim": ("head_dim", "kv_channels", "attention_head_dim"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
    "context_length": ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "n_ctx"),
}
"""What model families call the same figure in config.json, the usual name first."""
NESTS = ("text_config", "llm_config", "lm_config", "language_config", "thinker_config")
"""Where multimodal models keep their language model (Gemma 3, InternVL, Idefics, DeepSeek-VL, Qwen Omni)."""
FLATTENED = ("attn_config", "ffn_config")
"""Where DBRX and MPT keep the figures of a layer."""
DEPTH = 3
"""Nests inside each other: Qwen Omni has two, ``thinker_config.text_config``."""


def nested(config: Mapping[str, Any]) -> str:
    """Return where the language model's part is, ``text_config``, empty when the file has no such part."""
    return next((key for key in NESTS if isinstance(config.get(key), dict) and config[key]), "")


def language_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json with the language model's part above the rest."""
    part = dict(config)
    for _ in range(DEPTH):
        key = nested(part)
        if not key:
            break
        part = {**part, **part.pop(key)}
    layers = [part[key] for key in FLATTENED if isinstance(part.get(key), dict)]
    return {name: value for layer in [*layers, part] for name, value in layer.items()}


def text_architectures(config: Mapping[str, Any]) -> list[str]:
    """Return the names that the file gives its language model: the nested ones first, then its own."""
    found: list[str] = []
    part: Any = config
    for _ in range(DEPTH):
        names = part.get("architectures")
        first = names[0] if isinstance(names, list) and names else None
        found = [first, *found] if isinstance(first, str) else found
        key = nested(part)
        if not key:
            break
        part = part[key]
    return found


def model_type(text: Mapping[str, Any]) -> str:
    """Return ``model_type``, empty when it is no text."""
    value = text.get("model_type")
    return value if isinstance(value, str) else ""


def read_figure(config: Mapping[str, Any], names: Iterable[str]) -> int:
    """Return the first figure that the configuration has under one of the names, else 0.

    A list has one for each layer (OpenELM, Gemma 3n): the largest counts, so that no plan is too small.
    """
    return next((value for value in (_figure(config.get(name)) for name in names) if value), 0)


def read_figures(text: Mapping[str, Any]) -> dict[str, int]:
    """Return the figures of ``NAMES``, 0 for what is absent."""
    return {name: read_figure(text, names) for name, names in NAMES.items()}


def numbers(value: Any) -> list[int]:
    """Return a list's whole numbers; empty when it is no list of only those."""
    known = isinstance(value, list) and all(isinstance(one, int) for one in value)
    return [int(one) for one in value] if known else []


def _figure(value: Any) -> int:
    if isinstance(value, list):
        return max((_figure(one) for one in value if not isinstance(one, list)), default=0)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
