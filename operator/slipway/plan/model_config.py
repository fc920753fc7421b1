"""Model facts from a config.json or from an inspect Job's result; called by the pass and the CLI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from slipway.api import reasons
from slipway.errors import InvalidSpecError
from slipway.plan.facts import ModelFacts

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes a weight of the stored types; anything else counts as 2."""
NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "n_head_kv", "num_kv_heads"),
    "head_dim": ("head_dim", "kv_channels"),
    "vocab_size": ("vocab_size",),
    "context_length": ("max_position_embeddings", "n_positions", "seq_length", "n_ctx"),
    "ffn": ("intermediate_size", "ffn_hidden_size", "n_inner"),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts"),
}
"""What model families call the same figure in config.json, the usual name first."""
_FACTS: TypeAdapter[ModelFacts] = TypeAdapter(ModelFacts)


def model_facts(
    config: Mapping[str, Any], parameters: int | None, weight_bytes: int | None = None
) -> ModelFacts:
    """Facts from a model's config.json, for ``--model DIR`` (inspect Jobs bring their own).

    Args:
        config: the parsed config.json.
        parameters: number of weights when known; computed from the dimensions when None.
        weight_bytes: bytes of the weight files when known; else parameters x bytes of the dtype.

    Raises:
        InvalidSpecError: ``UnsupportedArchitecture``, when it names no architecture or lacks a dimension.
    """
    text = {**config, **config["text_config"]} if isinstance(config.get("text_config"), dict) else config
    figures = {name: _figure(text, keys) for name, keys in NAMES.items()}
    missing = [
        NAMES[name][0] for name in ("layers", "hidden_size", "heads", "vocab_size") if not figures[name]
    ]
    architectures = config.get("architectures")
    if missing or not isinstance(architectures, list) or not architectures:
        lacks = ", ".join(missing) or "architectures"
        raise InvalidSpecError(
            reasons.UNSUPPORTED_ARCHITECTURE,
            f"config.json lacks {lacks}: is this a language model? Name a folder with its whole config.json.",
        )
    figures["kv_heads"] = figures["kv_heads"] or figures["heads"]
    figures["head_dim"] = figures["head_dim"] or figures["hidden_size"] // figures["heads"]
    dtype = str(text.get("dtype") or text.get("torch_dtype") or "bfloat16")
    count = parameters or count_parameters(figures, tied=bool(text.get("tie_word_embeddings")))
    weights = weight_bytes or count * DTYPE_BYTES.get(dtype, 2)
    quantization = config.get("quantization_config") or {}
    return ModelFacts(
        architecture=str(architectures[0]),
        parameters=count,
        layers=figures["layers"],
        hidden_size=figures["hidden_size"],
        heads=figures["heads"],
        kv_heads=figures["kv_heads"],
        head_dim=figures["head_dim"],
        vocab_size=figures["vocab_size"],
        context_length=figures["context_length"],
        dtype=dtype,
        weight_bytes=weights,
        download_bytes=weights,
        quantization=str(quantization.get("quant_method", "")),
    )


def count_parameters(figures: Mapping[str, int], *, tied: bool) -> int:
    """Weights of a decoder with gated FFN (Llama, Qwen, Mixtral …); norms and biases (< 0.1 %) left out."""
    hidden = figures["hidden_size"]
    embeddings = figures["vocab_size"] * hidden * (1 if tied else 2)
    attention = 2 * hidden * figures["head_dim"] * (figures["heads"] + figures["kv_heads"])
    feed_forward = 3 * hidden * (figures["ffn"] or 4 * hidden) * max(1, figures["experts"])
    return embeddings + figures["layers"] * (attention + feed_forward)


def facts_from_wire(raw: Mapping[str, Any]) -> ModelFacts:
    """Facts from the inspect Job's camelCase result, or from a ControllerRevision. Unknown keys are ignored.

    Raises:
        ValueError: a key is missing or of another type.
    """
    known = {to_camel(one.name): one.name for one in fields(ModelFacts)}
    given = {known[key]: value for key, value in raw.items() if key in known}
    try:
        # Strict on JSON: in Python mode strictness would demand an instance, not a dict.
        return _FACTS.validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise ValueError(f"the model's facts are incomplete: {error}") from error


def _figure(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    values = (config.get(name) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), 0)
