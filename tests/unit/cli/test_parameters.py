"""The number of weights that is computed from a config.json, beside what the models' makers publish."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.errors import InvalidSpecError
from slipway.plan.model_config import model_facts


def config(
    hidden: int, layers: int, heads: tuple[int, int], vocab: int, ffn: int, **more: Any
) -> dict[str, Any]:
    """A config.json in the usual names; heads are those of attention and those of keys."""
    return {
        "architectures": ["ForCausalLM"],
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "vocab_size": vocab,
        "intermediate_size": ffn,
        "tie_word_embeddings": False,
    } | more


QWEN3_MOE = config(
    2048, 48, (32, 4), 151_936, 6144, head_dim=128, num_experts=128, moe_intermediate_size=768,
    decoder_sparse_step=1, mlp_only_layers=[],
)  # fmt: skip
DEEPSEEK_V2_LITE = config(
    2048, 27, (16, 16), 102_400, 10_944, n_routed_experts=64, n_shared_experts=2, moe_intermediate_size=1408,
    first_k_dense_replace=1, moe_layer_freq=1, q_lora_rank=None, kv_lora_rank=512,
)  # fmt: skip
QWEN15_MOE = config(
    2048, 24, (16, 16), 151_936, 5632, num_experts=60, moe_intermediate_size=1408,
    shared_expert_intermediate_size=5632, decoder_sparse_step=1,
)  # fmt: skip
GEMMA_2_9B = config(3584, 42, (16, 8), 256_000, 14_336, head_dim=256)
del GEMMA_2_9B["tie_word_embeddings"]  # as published: transformers leaves out what its base class says
GPT_2 = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "vocab_size": 50_257,
}
PUBLISHED = {
    "Qwen3-30B-A3B": (30.5, QWEN3_MOE),
    "Mixtral-8x7B": (46.7, config(4096, 32, (32, 8), 32_000, 14_336, num_local_experts=8)),
    "DeepSeek-V2-Lite": (15.7, DEEPSEEK_V2_LITE),
    "DeepSeek-V3": (
        671,
        config(7168, 61, (128, 128), 129_280, 18_432, n_routed_experts=256, n_shared_experts=1,
               moe_intermediate_size=2048, first_k_dense_replace=3),
    ),
    "Qwen1.5-MoE-A2.7B": (14.3, QWEN15_MOE),
    "OLMoE-1B-7B": (6.92, config(2048, 16, (16, 16), 50_304, 1024, num_experts=64)),
    "gpt-oss-20b": (20.9, config(2880, 24, (64, 8), 201_088, 2880, head_dim=64, num_local_experts=32)),
    "Llama-3.1-8B": (8.03, config(4096, 32, (32, 8), 128_256, 14_336)),
    "Qwen2.5-7B": (7.62, config(3584, 28, (28, 4), 152_064, 18_944)),
    "Gemma-2-9b": (9.24, GEMMA_2_9B),
    "GPT-2": (0.124, GPT_2),
    "Phi-2": (2.78, config(2560, 32, (32, 32), 51_200, 10_240, model_type="phi")),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_within_three_percent_of_what_is_published(name: str) -> None:
    billions, given = PUBLISHED[name]
    assert model_facts(given, None).parameters == pytest.approx(billions * 1e9, rel=0.03)


def test_dense_layers_between_the_experts() -> None:
    sparse = model_facts(QWEN3_MOE, None).parameters
    every_second = model_facts(QWEN3_MOE | {"decoder_sparse_step": 2}, None).parameters
    assert every_second == pytest.approx(0.55 * sparse, rel=0.05)
    none = model_facts(QWEN3_MOE | {"first_k_dense_replace": 99}, None).parameters
    dense = model_facts(QWEN3_MOE | {"num_experts": 0}, None).parameters
    assert none == dense


def test_what_the_models_class_fills_in_is_named() -> None:
    # google/gemma-3-4b-it as published: attention and vocabulary are defaults of Gemma3TextConfig.
    text = {"hidden_size": 2560, "intermediate_size": 10_240, "num_hidden_layers": 34}
    given = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    with pytest.raises(InvalidSpecError) as error:
        model_facts(given, None)
    assert "lacks text_config.num_attention_heads, text_config.num_key_value_heads" in str(error.value)
    assert "text_config.vocab_size" in str(error.value)
    assert "write the figures of its model card into text_config" in str(error.value)


def test_a_quantization_config_of_another_shape_is_none() -> None:
    assert model_facts(QWEN3_MOE | {"quantization_config": ["x"]}, None).quantization == ""
