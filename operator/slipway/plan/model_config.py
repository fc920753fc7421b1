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
    "expert_ffn": ("moe_intermediate_size",),
    "shared_experts": ("n_shared_experts", "num_shared_experts"),
    "shared_ffn": ("shared_expert_intermediate_size", "shared_intermediate_size"),
    "dense_layers": ("first_k_dense_replace",),
    "expert_step": ("decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step"),
}
"""What model families call the same figure in config.json, the usual name first."""
UNGATED = frozenset(
    ("gpt2", "gptj", "gpt_neox", "gpt_bigcode", "starcoder2", "falcon", "bloom", "mpt", "opt", "phi")
)
"""Model types whose feed-forward has two matrices, not the three of a gated one."""
_FACTS: TypeAdapter[ModelFacts] = TypeAdapter(ModelFacts)


def model_facts(
    config: Mapping[str, Any], parameters: int | None, weight_bytes: int | None = None
) -> ModelFacts:
    """Facts from a model's config.json, for ``--model DIR`` (inspect Jobs bring their own).

    Args:
        config: the parsed config.json.
        parameters: number of weights when known; else computed from the dimensions (``count_parameters``).
        weight_bytes: bytes of the weight files when known; else parameters x bytes of the dtype.

    Raises:
        InvalidSpecError: ``UnsupportedArchitecture``, when it names no architecture or lacks a dimension.
    """
    nested = isinstance(config.get("text_config"), dict)
    text = {**config, **config["text_config"]} if nested else config
    figures = {name: _figure(text, keys) for name, keys in NAMES.items()}
    _refuse_incomplete(config, figures, "text_config." if nested else "")
    figures["kv_heads"] = figures["kv_heads"] or figures["heads"]
    figures["head_dim"] = figures["head_dim"] or figures["hidden_size"] // figures["heads"]
    dtype = str(text.get("dtype") or text.get("torch_dtype") or "bfloat16")
    count = parameters or count_parameters(
        figures,
        # transformers writes it when it differs from its base class, where it is true: absent is tied.
        tied=bool(text.get("tie_word_embeddings", True)),
        gated=text.get("model_type") not in UNGATED,
    )
    weights = weight_bytes or count * DTYPE_BYTES.get(dtype, 2)
    quantization = config.get("quantization_config")
    return ModelFacts(
        architecture=str(config["architectures"][0]),
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
        quantization=str(quantization.get("quant_method", "")) if isinstance(quantization, dict) else "",
    )


def _refuse_incomplete(config: Mapping[str, Any], figures: Mapping[str, int], inside: str) -> None:
    # A file that leaves its heads to the model's class leaves the rest of its attention to it too.
    attention = ("heads",) if figures["heads"] else ("heads", "kv_heads", "head_dim")
    needed = ("layers", "hidden_size", *attention, "vocab_size")
    missing = [inside + NAMES[name][0] for name in needed if not figures[name]]
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        missing.append("architectures")
    if missing:
        hint = (
            f"the model's class fills in what the file leaves out: write the figures of its model card "
            f"into {inside.removesuffix('.')}"
            if inside and missing != ["architectures"]
            else "is this a language model? Name a folder with its whole config.json"
        )
        raise InvalidSpecError(
            reasons.UNSUPPORTED_ARCHITECTURE, f"config.json lacks {', '.join(missing)}: {hint}."
        )


def count_parameters(figures: Mapping[str, int], *, tied: bool, gated: bool = True) -> int:
    """Weights of a decoder (Llama, Qwen, Mixtral, DeepSeek …); norms and biases (< 0.1 %) are left out.

    Within 3 % of the published numbers, which a test shows by family. Low-rank attention (DeepSeek) counts as
    full: that is 0.5 % of such a model.

    Args:
        figures: as ``NAMES``, 0 for what is absent; ``heads``, ``kv_heads`` and ``head_dim`` are there.
        tied: whether the output layer is the embedding.
        gated: whether the feed-forward has three matrices.
    """
    hidden, layers = figures["hidden_size"], figures["layers"]
    embeddings = figures["vocab_size"] * hidden * (1 if tied else 2)
    attention = 2 * hidden * figures["head_dim"] * (figures["heads"] + figures["kv_heads"])
    matrices = (3 if gated else 2) * hidden
    dense = matrices * (figures["ffn"] or 4 * hidden)
    experts = figures["experts"]
    if not experts:
        return embeddings + layers * (attention + dense)
    width = figures["expert_ffn"] or figures["ffn"] or 4 * hidden
    shared = figures["shared_ffn"] or figures["shared_experts"] * width
    mixture = matrices * (experts * width + shared) + experts * hidden  # the last is the router
    mixtures = max(0, layers - figures["dense_layers"]) // max(1, figures["expert_step"])
    return embeddings + layers * attention + mixtures * mixture + (layers - mixtures) * dense


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
    numbers = (value for value in values if isinstance(value, int) and not isinstance(value, bool))
    return next((value for value in numbers if value > 0), 0)
