"""How many weights a decoder has, from its config.json, and through how many of them one token passes. Pure.

Called by the facts of the inspect Job and by the operator's ``plan.model_config``. Tests hold totals and
active weights beside what the models' makers publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway_runtime.kv_cache import attention_layers
from slipway_runtime.model_figures import model_type, numbers, read_figure, read_figures

NAMES: Mapping[str, tuple[str, ...]] = {
    "ffn": ("intermediate_size", "ffn_hidden_size", "n_inner"),
    "dense_ffn": ("intermediate_size_mlp",),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "chosen": (
        "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_top_k", "moe_k",
        "top_k_experts", "num_selected_experts",
    ),
    "expert_ffn": ("moe_intermediate_size", "expert_ffn_hidden_size"),
    "shared_experts": (
        "n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts",
    ),
    "shared_ffn": (
        "shared_expert_intermediate_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size",
    ),
    "dense_layers": ("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers"),
    "expert_step": (
        "decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step", "expert_layer_period",
        "moe_layer_interval",
    ),
}  # fmt: skip
"""What model families call the same figure of the feed-forward in config.json, the usual name first."""
UNGATED = frozenset((
    "gpt2", "gptj", "gpt_neo", "gpt_neox", "gpt_bigcode", "starcoder2", "falcon", "bloom", "mpt", "opt",
    "phi", "bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "mpnet", "nemotron",
))  # fmt: skip
"""Model types whose feed-forward has two matrices, not the three of a gated one."""
SHARING = frozenset(("llama4", "llama4_text"))
"""Model types with one shared expert that config.json does not name."""
UNCOUNTED = frozenset(("gpt_oss",))
"""Model types whose makers leave the input embedding out of the active weights: a token reads one row."""


@dataclass(frozen=True)
class Count:
    """Weights as computed.

    Attributes:
        total: all of them.
        routed: those of all routed experts together.
        embedding: of the input embedding.
    """

    total: int
    routed: int
    embedding: int


def experts(text: Mapping[str, Any]) -> int:
    """Return how many routed experts a mixture layer has, 0 for a model without."""
    found = read_figure(text, NAMES["experts"])
    return found if found > 1 else 0


def count_parameters(text: Mapping[str, Any], known: Mapping[str, int] | None = None) -> Count:
    """Return the weights of a decoder (Llama, Qwen, Mixtral, DeepSeek …) without norms and biases (< 0.1 %).

    Within 3 % of the published totals of plain decoders, 5 % of hybrid ones. What sees or hears is not
    counted, nor what predicts further tokens (``num_nextn_predict_layers``).

    Args:
        text: the language model's part of config.json.
        known: figures of ``model_figures.NAMES`` where more is known than the file says.
    """
    figures = known or read_figures(text)
    more = {name: read_figure(text, names) for name, names in NAMES.items()}
    hidden, layers = figures["hidden_size"], figures["layers"]
    embedding = figures["vocab_size"] * hidden
    matrices = (2 if model_type(text) in UNGATED else 3) * hidden
    narrow = more["ffn"] or 4 * hidden
    mixtures = mixture_layers(text, layers) if experts(text) else 0
    width = more["expert_ffn"] or narrow
    shared = more["shared_ffn"] or (more["shared_experts"] or model_type(text) in SHARING) * width
    if text.get("enable_moe_block") is True:  # Gemma 4 has both beside each other
        shared = narrow
    routed = mixtures * matrices * experts(text) * width
    others = mixtures * (matrices * shared + experts(text) * hidden)  # the last is the router
    dense = (layers - mixtures) * matrices * (more["dense_ffn"] or narrow)
    # transformers writes it when it differs from its base class, where it is true: absent is tied.
    embeddings = embedding * (1 if text.get("tie_word_embeddings", True) else 2)
    embeddings += (
        layers * _figure(text, "vocab_size_per_layer_input") * _figure(text, "hidden_size_per_layer_input")
    )
    total = embeddings + _mixing(text, figures) + routed + others + dense
    return Count(total, routed, embedding)


def active_parameters(text: Mapping[str, Any], total: int, routed: int, known: Mapping[str, int]) -> int:
    """Return the weights that one token passes through, 0 for all of them (no mixture of experts).

    Args:
        text: the language model's part of config.json.
        total: weights of the model.
        routed: those in routed experts as the files have them, 0 when that was not counted.
        known: figures of ``model_figures.NAMES``.
    """
    all_experts, chosen = experts(text), read_figure(text, NAMES["chosen"])
    if not all_experts or not chosen or chosen >= all_experts:
        return 0
    computed = count_parameters(text, known)
    if _figure(text, "num_nextn_predict_layers"):
        # Files of DeepSeek and GLM hold a layer more that serves speculation alone, embeddings included.
        total, routed = min(total, computed.total), computed.routed
    routed = routed or computed.routed
    uncounted = computed.embedding if model_type(text) in UNCOUNTED else 0
    active = total - routed * (all_experts - chosen) // all_experts - uncounted
    return active if 0 < active < total else 0


def mixture_layers(text: Mapping[str, Any], layers: int) -> int:
    """Return how many layers have experts; the others have one dense feed-forward."""
    kinds = text.get("mlp_layer_types")  # GLM-5
    if isinstance(kinds, list) and "sparse" in kinds:
        return kinds[:layers].count("sparse")
    if listed := numbers(text.get("moe_layers")):  # Llama 4
        return len(listed)
    if flags := numbers(text.get("moe_layer_freq")):  # Moonlight, MiMo: one flag for each layer
        return sum(flag != 0 for flag in flags[:layers])
    dense = read_figure(text, NAMES["dense_layers"]) or len(numbers(text.get("mlp_only_layers")))
    return max(0, layers - dense) // max(1, read_figure(text, NAMES["expert_step"]))


def _mixing(text: Mapping[str, Any], figures: Mapping[str, int]) -> int:
    """Weights that mix tokens: attention, or what stands in its place in the other layers of a hybrid."""
    layers = figures["layers"]
    if model_type(text) == "falcon_h1":  # both beside each other, in every layer
        return layers * (_attention(text, figures) + _linear(text, figures))
    attending = min(layers, attention_layers(text, layers))
    return attending * _attention(text, figures) + (layers - attending) * _linear(text, figures)


def _attention(text: Mapping[str, Any], figures: Mapping[str, int]) -> int:
    hidden, heads = figures["hidden_size"], figures["heads"]
    rank, rotated = _figure(text, "kv_lora_rank"), _figure(text, "qk_rope_head_dim")
    if rank and rotated:  # DeepSeek's, arXiv 2405.04434, section 2.1
        plain, value = _figure(text, "qk_nope_head_dim"), _figure(text, "v_head_dim")
        low = _figure(text, "q_lora_rank")
        queries = low * (hidden + heads * (plain + rotated)) if low else hidden * heads * (plain + rotated)
        return queries + hidden * (rank + rotated) + rank * heads * (plain + value) + heads * value * hidden
    gate = heads if text.get("attn_output_gate") is True or model_type(text) == "qwen3_next" else 0
    return hidden * figures["head_dim"] * (2 * heads + 2 * figures["kv_heads"] + gate)


def _linear(text: Mapping[str, Any], figures: Mapping[str, int]) -> int:
    """Gated DeltaNet (Qwen3-Next), else Mamba, else as attention (short convolutions of LFM2)."""
    hidden = figures["hidden_size"]
    if value_heads := _figure(text, "linear_num_value_heads"):
        keys = _figure(text, "linear_num_key_heads") * _figure(text, "linear_key_head_dim")
        values = value_heads * _figure(text, "linear_value_head_dim")
        return hidden * (2 * keys + 3 * values + 2 * value_heads)
    inner = _figure(text, "mamba_n_heads") * _figure(text, "mamba_d_head")
    inner = inner or _figure(text, "mamba_d_ssm") or _figure(text, "mamba_expand") * hidden
    states = max(1, _figure(text, "mamba_n_groups")) * _figure(text, "mamba_d_state")
    return hidden * (3 * inner + 2 * states) if inner else _attention(text, figures)


def _figure(text: Mapping[str, Any], name: str) -> int:
    return read_figure(text, (name,))
