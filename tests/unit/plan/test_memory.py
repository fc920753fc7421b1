"""Computed bytes against measured and published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.plan.device_memory import kv_bytes
from slipway.plan.facts import ModelFacts
from slipway.plan.memory import (
    LEVEL_BITS,
    VOCABULARY_BYTES,
    engine_memory,
    file_bytes,
    kv_bytes_per_token,
    largest_tensor,
    sizes,
)
from slipway_runtime.contract import LEVELS
from tests.support.planning import MODELS, model

MIB = 1024**2
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "plan" / "measured-sizes.json"
MEASURED: dict[str, Any] = json.loads(GOLDEN.read_text())["models"]
CASES = [(name, level, size) for name, one in MEASURED.items() for level, size in one["mebibytes"].items()]
PUBLISHED_6_7B = {
    "F16": 13.5, "Q8_0": 7.2, "Q6_K": 5.5, "Q5_K_M": 4.8, "Q4_K_M": 4.1, "Q4_0": 3.8, "Q3_K_M": 3.3,
    "Q2_K": 2.8,
}  # fmt: skip


@pytest.mark.parametrize(("name", "level", "mebibytes"), CASES)
def test_every_level_is_within_ten_percent_of_what_llama_quantize_says(
    name: str, level: str, mebibytes: float
) -> None:
    one = MEASURED[name]
    facts = model(one["parameters"], 1, one["hiddenSize"], 1, 1, 1, one["vocabSize"], 1)
    tensors = file_bytes(facts, level) - facts.vocab_size * VOCABULARY_BYTES
    assert tensors == pytest.approx(mebibytes * MIB, rel=0.1)


@pytest.mark.parametrize("level", PUBLISHED_6_7B)
def test_published_sizes_of_6_7b(level: str) -> None:
    assert file_bytes(MODELS["llama-7b"], level) == pytest.approx(PUBLISHED_6_7B[level] * 1e9, rel=0.1)


def test_published_sizes_of_70b() -> None:
    assert file_bytes(MODELS["llama2-70b"], "F16") == pytest.approx(140e9, rel=0.05)
    assert file_bytes(MODELS["llama2-70b"], "Q4_K_M") == pytest.approx(40e9, rel=0.1)


def test_smollm2_falls_back_and_weighs_what_its_real_file_does() -> None:
    assert file_bytes(MODELS["smollm2-135m"], "Q4_K_M") == pytest.approx(105_454_400, rel=0.01)
    assert file_bytes(MODELS["smollm2-135m"], "F16") == pytest.approx(270_886_208, rel=0.01)


def test_kv_cache_is_what_llama_server_allocates() -> None:
    assert kv_bytes_per_token(MODELS["smollm2-135m"]) * 16_384 == 360 * MIB
    assert kv_bytes_per_token(MODELS["llama3-8b"]) * 16_384 == 2048 * MIB
    assert kv_bytes_per_token(MODELS["llama-7b"]) == 512 * 1024


@pytest.mark.parametrize(
    ("dtype", "bytes_of_a_head"),
    [("", 2 * 128), ("fp8", 128), ("q8_0", 4 * 34), ("q4_0", 4 * 18), ("int8", 128 + 4), ("int4", 64 + 4)],
)
def test_a_kv_cache_is_as_large_as_its_type_with_its_scales(dtype: str, bytes_of_a_head: int) -> None:
    # Llama 3 8B: 32 layers of 8 KV heads, each with a key and a value of 128 elements.
    assert kv_bytes(MODELS["llama3-8b"], dtype) == 2 * 32 * 8 * bytes_of_a_head


def test_activations_cover_the_measured_compute_buffer_without_waste() -> None:
    measured = 18.64 * MIB + 0.75 * MIB
    planned = engine_memory(MODELS["smollm2-135m"], "Q4_K_M", 4096, 4).activations
    assert measured < planned < 2 * measured


def test_total_covers_the_measured_resident_set() -> None:
    resident = 546_176 * 1024  # VmHWM after four concurrent prompts of 3,600 tokens
    assert resident < engine_memory(MODELS["smollm2-135m"], "Q4_K_M", 4096, 4).total < 1.5 * resident


def test_memory_grows_with_context_and_concurrency() -> None:
    facts = MODELS["llama3-8b"]
    small = engine_memory(facts, "Q4_K_M", 2048, 1)
    assert engine_memory(facts, "Q4_K_M", 4096, 1).kv_cache == 2 * small.kv_cache
    assert engine_memory(facts, "Q4_K_M", 2048, 4).kv_cache == 4 * small.kv_cache
    assert small.total == small.weights + small.kv_cache + small.activations + small.overhead


def test_every_level_of_the_contract_has_its_bits_and_lower_ones_are_smaller() -> None:
    assert set(LEVEL_BITS) == set(LEVELS)
    for name in ("llama-7b", "smollm2-135m"):
        order = [
            file_bytes(MODELS[name], level) for level in ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M")
        ]
        assert order == sorted(order, reverse=True)


def test_sizes_of_the_chain() -> None:
    chain = sizes(MODELS["llama-7b"], "Q4_K_M")
    assert chain.source == MODELS["llama-7b"].download_bytes
    assert chain.f16 > 3 * chain.level


TENSORS = {
    "an embedding, tied": (MODELS["llama3.2-3b"], 128_256 * 3072),
    "an embedding": (model(70.55e9, 80, 8192, 64, 8, 128, 128_256, 8192), 128_256 * 8192),
    "an FFN matrix": (MODELS["llama2-70b"], 28_672 * 8192),
    "gate and up in one (Phi 3 medium)": (
        model(13.96e9, 40, 5120, 40, 10, 128, 32_064, 4096), 2 * 17_920 * 5120,
    ),
    "the experts of a layer (Mixtral 8x22B)": (
        model(140.6e9, 56, 6144, 48, 8, 128, 32_768, 65_536), 8 * 16_384 * 6144,
    ),
    "the experts of a layer (DeepSeek V3)": (
        model(671e9, 61, 7168, 128, 128, 56, 129_280, 163_840), 256 * 2048 * 7168,
    ),
}  # fmt: skip
"""Models and the weights of their largest tensor as GGUF has it."""


@pytest.mark.parametrize(("facts", "weights"), TENSORS.values(), ids=TENSORS)
def test_the_largest_tensor_is_never_guessed_too_small(facts: ModelFacts, weights: int) -> None:
    assert weights <= largest_tensor(facts) <= 3 * weights
    assert largest_tensor(facts) <= facts.parameters
