"""Elements of the KV cache where they are not two for each layer, head and width."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_runtime.kv_cache import attention_layers, kv_elements

LATENT = {"kv_lora_rank": 512, "qk_rope_head_dim": 64}


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ({}, 12),
        ({"layer_types": ["linear_attention", "linear_attention", "full_attention"] * 4}, 4),
        ({"layer_types": ["sliding_attention", "full_attention"] * 6}, 12),
        ({"layers_block_type": ["hybrid"] * 12}, 12),
        ({"layer_types": ["conv", "conv", "full_attention"] * 4}, 4),
        ({"block_types": ["recurrent", "recurrent", "attention"]}, 4),
        ({"hybrid_override_pattern": "M-M*-ME*-M-M"}, 2),
        ({"attn_layer_period": 8, "attn_layer_offset": 4}, 1),
        ({"full_attention_interval": 4}, 3),
        ({"attn_layer_indices": [3, 9]}, 2),
        ({"full_attn_idxs": [2, 5, 8]}, 3),
        ({"linear_attn_config": {"full_attn_layers": [4, 8, 12], "kda_layers": [1, 2]}}, 3),
        ({"attn_type_list": [0, 0, 0, 1] * 3}, 3),
        ({"layer_types": [], "hybrid_override_pattern": 5, "attn_type_list": ["x"]}, 12),
    ],
)
def test_layers_that_attend(text: dict[str, Any], layers: int) -> None:
    assert attention_layers(text, 12) == layers


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ({}, 0),
        ({"sliding_window": 128, "layer_types": ["sliding_attention"] * 12}, 0),
        ({"model_type": "deepseek_v2", **LATENT}, 12 * 576),
        ({"model_type": "glm_moe_dsa", "index_head_dim": 128, **LATENT}, 12 * 704),
        (
            {"model_type": "kimi_linear", "linear_attn_config": {"full_attn_layers": [4, 8, 12]}, **LATENT},
            3 * 576,
        ),
        ({"model_type": "minicpm3", "qk_nope_head_dim": 64, "v_head_dim": 64, **LATENT}, 12 * 4 * (128 + 64)),
        ({"num_kv_shared_layers": 4}, 8 * 2 * 4 * 64),
        ({"num_kv_heads": [3, 3, 4, 4] * 3}, 2 * 64 * 42),
        ({"head_dim": 64, "v_head_dim": 32}, 12 * 4 * (64 + 32)),
        (
            {
                "global_head_dim": 128,
                "num_global_key_value_heads": 1,
                "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 4,
            },
            8 * 2 * 4 * 64 + 4 * 2 * 128,
        ),
        (
            {
                "num_attention_heads": 16,
                "block_configs": [
                    {"attention": {"n_heads_in_group": 8, "no_op": False}},
                    {"attention": {"n_heads_in_group": None, "no_op": True}},
                ],
            },
            2 * 64 * 2,
        ),
    ],
)
def test_elements_of_one_token(text: dict[str, Any], elements: int) -> None:
    assert kv_elements(text, 12, 4, 64) == elements
