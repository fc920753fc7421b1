"""The facts of a model from config.json and the safetensors headers. Pure; called by inspection.

The keys are those of the operator's ``plan.facts.ModelFacts`` in camelCase.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway_runtime.errors import DataError
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.weights import CONFIG, Header, is_weights

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
LAYER = re.compile(r"(?:.*\.)?(\d+)\..*\.(q_proj|k_proj|k_norm)\.weight")
NEEDED = ("layers", "hiddenSize", "vocabSize")
"""Without these no plan can be made; nor without ``heads``, unless the model has no attention."""
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}


def build_facts(
    config: Mapping[str, Any], headers: Iterable[Header], listing: Listing, selected: Iterable[RemoteFile]
) -> dict[str, Any]:
    """Return the facts: figures of config.json, or else of the shapes; the context may be 0, unknown.

    ``parameters`` counts stored weights: tied embeddings once, packed integers of a quantised model as
    stored.

    Raises:
        DataError: BrokenConfig, when neither says a figure that the plan rests on.
    """
    known = list(headers)
    counts: dict[str, int] = {}
    for header in known:
        for dtype, count in header.parameters.items():
            counts[dtype] = counts.get(dtype, 0) + count
    figures = complete({key: read_figure(text_config(config), names) for key, names in NAMES.items()}, known)
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


def complete(figures: Mapping[str, int], headers: Sequence[Header]) -> dict[str, int]:
    """Return the figures with what config.json left to its class filled in from the tensors' shapes.

    Keys and values of one token have ``kvHeads`` x ``headDim`` elements: the rows of ``k_proj``, whose
    largest layer counts. Where only that product is known, it is one head.
    """
    shown = shapes_say(headers)
    found = {key: figures[key] or shown.get(key, 0) for key in figures}
    rows = shown.get("keyRows", 0)
    if not found["headDim"] and found["heads"]:
        found["headDim"] = found["hiddenSize"] // found["heads"]
    if not found["kvHeads"] and not figures["heads"] and rows:
        found["headDim"] = found["headDim"] or rows
        found["kvHeads"] = rows // found["headDim"]
    if not found["heads"] and found["headDim"]:
        found["heads"] = max(1, shown.get("queryRows", 0) // found["headDim"])
    found["kvHeads"] = found["kvHeads"] or found["heads"]
    lacking = [NAMES[key][0] for key in NEEDED if not found[key]]
    if not found["heads"] and any(header.attends for header in headers):
        lacking.append(NAMES["heads"][0])
    if lacking:
        raise DataError(
            "BrokenConfig",
            f"{CONFIG} lacks {', '.join(lacking)}, and the weights' names don't show it: the memory that "
            "the model needs can't be computed. Name a repository with a whole config.json",
        )
    return found


def shapes_say(headers: Iterable[Header]) -> dict[str, int]:
    """Return what shapes tell, in the names of the facts, with ``queryRows`` and ``keyRows`` beside."""
    found: dict[str, int] = {}
    for name, shape in (item for header in headers for item in header.shapes.items()):
        if match := LAYER.fullmatch(name):
            found["layers"] = max(found.get("layers", 0), int(match[1]) + 1)
            key = {"q_proj": "queryRows", "k_proj": "keyRows", "k_norm": "headDim"}[match[2]]
            found[key] = max(found.get(key, 0), shape[0])
        elif len(shape) == 2:  # noqa: PLR2004 - a matrix: vocabulary x hidden size
            found["vocabSize"], found["hiddenSize"] = shape
    return found


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
