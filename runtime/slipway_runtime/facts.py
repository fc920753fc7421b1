"""The facts of a model from config.json and the safetensors headers. Pure; called by inspection.

The keys are those of the operator's ``plan.facts.ModelFacts`` in camelCase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slipway_runtime.errors import DataError
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.weights import Header, is_weights

NAMES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hiddenSize": ("hidden_size", "n_embd", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kvHeads": ("num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num"),
    "headDim": ("head_dim", "kv_channels"),
    "vocabSize": ("vocab_size", "padded_vocab_size"),
    "contextLength": ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "n_ctx"),
}
"""What the model families call the same figure, the usual name first."""
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}


def build_facts(
    config: Mapping[str, Any], headers: Iterable[Header], listing: Listing, selected: Iterable[RemoteFile]
) -> dict[str, Any]:
    """Return the facts; a figure that the configuration doesn't have is 0.

    ``parameters`` counts stored weights: tied embeddings once, packed integers of a quantised model as
    stored.
    """
    counts: dict[str, int] = {}
    for header in headers:
        for dtype, count in header.parameters.items():
            counts[dtype] = counts.get(dtype, 0) + count
    figures = {key: read_figure(text_config(config), names) for key, names in NAMES.items()}
    figures["kvHeads"] = figures["kvHeads"] or figures["heads"]
    if not figures["headDim"] and figures["heads"]:
        figures["headDim"] = figures["hiddenSize"] // figures["heads"]
    files = list(selected)
    usual = max(counts, key=lambda dtype: counts[dtype], default="")
    return {
        "architecture": architecture(config),
        "parameters": sum(counts.values()),
        **figures,
        "dtype": DTYPES.get(usual, usual.lower()),
        "weightBytes": sum(file.size for file in files if is_weights(file.path)),
        "downloadBytes": sum(file.size for file in files),
        "license": listing.license,
        "quantization": quantization(config),
    }


def architecture(config: Mapping[str, Any]) -> str:
    """Return the first of ``architectures``; DataError when there is none."""
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise DataError(
            "BrokenConfig", "config.json names no architecture: is this a language model's repository?"
        )
    return names[0]


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the language model's part: multimodal models nest it under ``text_config``."""
    nested = config.get("text_config")
    return {**config, **nested} if isinstance(nested, dict) else config


def quantization(config: Mapping[str, Any]) -> str:
    """Return the method that the weights were already quantised with, empty for none."""
    nested = config.get("quantization_config")
    return str(nested.get("quant_method", "")) if isinstance(nested, dict) else ""


def read_figure(config: Mapping[str, Any], names: Iterable[str]) -> int:
    """Return the first figure that the configuration has under one of the names, else 0."""
    values = (config.get(name) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), 0)
