"""How much one token leaves in the KV cache, where it is not keys and values of every layer's heads. Pure.

Called by the facts of the inspect Job and by the operator's ``plan.model_config``. Sources: the configuration
classes of transformers 5.16, ``is_deepseek_mla`` of vLLM 0.32.0, and llama.cpp's ``llama-kv-cache.cpp`` and
``llama-memory-hybrid.cpp``, which keep compressed keys alone and leave out recurrent layers as vLLM does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway_runtime.model_figures import model_type, numbers, read_figure

COMPRESSING = re.compile(
    r"deepseek_v[23].*|kimi_(k2|linear).*|glm(_moe_dsa|4_moe_lite|5_next).*|longcat_flash|pangu_ultra_moe|axk1"
    r"|bailing_hybrid.*|hy_v4|dots3_note"
)
"""Model types whose engines keep the compressed keys (``kv_lora_rank``); others that have such a rank, as
MiniCPM 3, are unfolded to whole heads before they are kept."""
REMEMBERLESS = re.compile(r".*(linear|mamba|conv|recurrent|ssm|rwkv|gated_delta|kda|rglru).*|moe|mlp|ffn")
"""Kinds of layers that keep a state of fixed size, or none."""
TYPES = ("layer_types", "layers_block_type", "block_types", "_block_types")
INDICES = ("attn_layer_indices", "full_attn_idxs")


def kv_elements(text: Mapping[str, Any], layers: int, kv_heads: int, head_dim: int) -> int:
    """Return the elements of the KV cache that one token fills over all layers; 0 for the usual number.

    The usual number is 2 x layers x kv_heads x head_dim. Layers with a sliding window count whole, as if
    they never forgot: an upper bound, since engines differ in what they give back.

    Args:
        text: the language model's part of config.json.
        layers: all layers.
        kv_heads: of each layer; where layers differ, the largest.
        head_dim: of keys and values.
    """
    attending = max(0, attention_layers(text, layers) - _figure(text, "num_kv_shared_layers"))
    compressed = _compressed(text)
    varied = 0 if compressed else _by_layer(text, layers, head_dim)
    found = attending * compressed or varied or _whole(text, attending, kv_heads, head_dim)
    return 0 if found == 2 * layers * kv_heads * head_dim else found


def attention_layers(text: Mapping[str, Any], layers: int) -> int:
    """Return how many layers have attention; all, unless the file says otherwise."""
    kinds = layer_kinds(text, layers)
    if kinds:
        return sum(not REMEMBERLESS.fullmatch(kind) for kind in kinds)
    pattern = text.get("hybrid_override_pattern")  # Nemotron-H: M is Mamba, * attention, - and E feed-forward
    if isinstance(pattern, str) and "*" in pattern:
        return pattern.count("*")
    if period := _figure(text, "attn_layer_period"):  # Jamba
        return len(range(_figure(text, "attn_layer_offset"), layers, period))
    if every := _figure(text, "full_attention_interval"):  # Qwen3-Next
        return layers // every
    linear = text.get("linear_attn_config")  # Kimi Linear
    full = linear.get("full_attn_layers") if isinstance(linear, dict) else None
    named = next((found for found in (full, *map(text.get, INDICES)) if numbers(found)), None)
    if named:
        return len(numbers(named))
    flags = numbers(text.get("attn_type_list"))  # MiniMax-01: 0 is linear
    return sum(flag != 0 for flag in flags[:layers]) or layers


def layer_kinds(text: Mapping[str, Any], layers: int) -> list[str]:
    """Return the kind of each layer where the file lists them; a shorter list repeats (RecurrentGemma)."""
    for key in TYPES:
        kinds = text.get(key)
        if isinstance(kinds, list) and kinds and all(isinstance(kind, str) for kind in kinds):
            return (kinds * (layers // len(kinds) + 1))[:layers]
    return []


def _compressed(text: Mapping[str, Any]) -> int:
    """Elements of a layer: one latent for keys and values, the rotated part, the sparse index's own key."""
    rank = _figure(text, "kv_lora_rank")
    if not rank or not COMPRESSING.fullmatch(model_type(text)):
        return 0
    return rank + _figure(text, "qk_rope_head_dim") + _figure(text, "index_head_dim")


def _whole(text: Mapping[str, Any], attending: int, kv_heads: int, head_dim: int) -> int:
    """Keys and values of whole heads, where their widths or, in Gemma 4, the layers differ."""
    plain, rotated = _figure(text, "qk_nope_head_dim"), _figure(text, "qk_rope_head_dim")
    keys = plain + rotated if plain and rotated else head_dim
    heads = max(kv_heads, _figure(text, "swa_num_key_value_heads"))  # MiMo has more in its windows
    usual = heads * (keys + (_figure(text, "v_head_dim") or keys))
    wide = _figure(text, "global_head_dim")
    kinds = layer_kinds(text, attending) if wide else []
    full = sum(kind == "full_attention" for kind in kinds)
    of_full = 2 * wide * (_figure(text, "num_global_key_value_heads") or heads)
    return (attending - full) * usual + full * of_full


def _by_layer(text: Mapping[str, Any], layers: int, head_dim: int) -> int:
    """Layers with KV heads of their own: OpenELM lists them, Nemotron's pruned Llamas say it in blocks."""
    for key in ("num_key_value_heads", "num_kv_heads"):
        if heads := numbers(text.get(key)):
            return 2 * head_dim * sum(heads[:layers])
    blocks = text.get("block_configs")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        return 0
    attentions = [block.get("attention") for block in blocks]
    groups = [_figure(one, "n_heads_in_group") for one in attentions if isinstance(one, dict)]
    heads_of_all = _figure(text, "num_attention_heads")
    return 2 * head_dim * sum(heads_of_all // group for group in groups if group)


def _figure(text: Mapping[str, Any], name: str) -> int:
    return read_figure(text, (name,))
