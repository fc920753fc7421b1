"""Facts from config.json and from an inspect Job."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from slipway.cli._inputs import read_model
from slipway.errors import InvalidSpecError
from slipway.plan.memory import kv_bytes_per_token
from slipway.plan.model_config import Beside, facts_from_wire, model_facts
from slipway_runtime.facts import build_facts
from slipway_runtime.sources import Listing
from slipway_runtime.weights import Header
from tests.support.planning import MODELS
from tests.unit.runtime.conftest import build_safetensors

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "models"


def config(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / name / "config.json").read_text())
    return found


@pytest.mark.parametrize(("name", "known"), [("smollm2", "smollm2-135m"), ("llama-7b", "llama-7b")])
def test_parameters_are_counted_when_unknown(name: str, known: str) -> None:
    facts = model_facts(config(name), None)
    assert facts.parameters == pytest.approx(MODELS[known].parameters, rel=0.002)
    expected = replace(MODELS[known], parameters=facts.parameters, dtype=facts.dtype)
    sized = replace(facts, weight_bytes=expected.weight_bytes, download_bytes=expected.download_bytes)
    assert sized == expected


def test_given_parameters_win() -> None:
    facts = model_facts(config("llama-7b"), 123, 456)
    assert (facts.parameters, facts.weight_bytes) == (123, 456)


def test_defaults_of_older_configurations() -> None:
    old = {
        "architectures": ["GPT2LMHeadModel"],
        "n_layer": 12,
        "n_embd": 768,
        "n_head": 12,
        "vocab_size": 50_257,
        "n_ctx": 1024,
    }
    facts = model_facts(old, None)
    assert (facts.kv_heads, facts.head_dim, facts.context_length) == (12, 64, 1024)


def test_multimodal_models_nest_their_language_part() -> None:
    inner = {key: value for key, value in config("smollm2").items() if key != "architectures"}
    facts = model_facts({"architectures": ["SomeVisionModel"], "text_config": inner}, None)
    assert (facts.architecture, facts.layers) == ("SomeVisionModel", 30)


def test_experts_count_as_weights() -> None:
    mixture = {**config("llama-7b"), "num_local_experts": 8}
    assert model_facts(mixture, None).parameters > 5 * model_facts(config("llama-7b"), None).parameters


PUBLISHED = {
    "mixtral-8x7b": (46.7, 12.9, 8),  # mistral.ai, "Mixtral of experts"
    "deepseek-v3": (671, 37, 256),  # arXiv 2412.19437
    "kimi-k2": (1040, 32, 384),  # arXiv 2507.20534
    "qwen3-30b-a3b": (30.5, 3.3, 128),  # model card
    "qwen2-57b-a14b": (57.4, 14, 64),  # model card
    "gpt-oss-20b": (20.9, 3.6, 32),  # arXiv 2508.10925
    "gpt-oss-120b": (116.8, 5.1, 128),
    "llama-4-scout": (109, 17, 16),  # model card
    "granite-4.0-h-small": (32, 9, 72),  # model card
    "jamba-v0.1": (52, 12, 16),  # arXiv 2403.19887
}
"""Billions of weights, of active ones, and experts. Makers of others (GLM-4.5-Air, Qwen3-Next,
DeepSeek-V2-Lite) leave embeddings out of the active weights, or round to what the name says."""
KV_ELEMENTS = {
    "deepseek-v3": 61 * (512 + 64),
    "kimi-k2": 61 * (512 + 64),
    "deepseek-v2-lite": 27 * (512 + 64),
    "qwen3-next-80b-a3b": 12 * 2 * 2 * 256,
    "granite-4.0-h-small": 4 * 2 * 8 * 128,
    "jamba-v0.1": 4 * 2 * 8 * 128,
    "gemma-3n-e4b": 20 * 2 * 2 * 256,
}
MODALITIES = {
    "bge-m3": "embedding", "llama-4-scout": "multimodal", "gemma-3n-e4b": "multimodal",
    "qwen2.5-vl-7b": "multimodal",
}  # fmt: skip
METHODS_OF = {"deepseek-v3": "fp8", "kimi-k2": "fp8", "gpt-oss-20b": "mxfp4", "gpt-oss-120b": "mxfp4"}
ALL = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_total_and_active_weights_are_near_what_is_published(name: str) -> None:
    total, active, experts = PUBLISHED[name]
    facts = model_facts(config(name), None)
    assert facts.parameters == pytest.approx(total * 1e9, rel=0.03)
    assert facts.active_parameters == pytest.approx(active * 1e9, rel=0.05)
    assert facts.experts == experts


def test_the_layer_that_serves_speculation_alone_is_not_active() -> None:
    # 684.5 billion weights in the files of DeepSeek-V3, of which 14 are its next-token module
    whole = model_facts(config("deepseek-v3"), 684_531_386_000, None, Beside(routed=660_000_000_000))
    assert whole.active_parameters == pytest.approx(37e9, rel=0.05)


@pytest.mark.parametrize("name", ALL)
def test_cache_modality_and_method_of_each(name: str) -> None:
    facts = model_facts(config(name), None)
    assert facts.kv_elements == KV_ELEMENTS.get(name, 0)
    assert facts.modality == MODALITIES.get(name, "text")
    assert facts.convertible is (facts.modality != "embedding")
    assert facts.quantization == METHODS_OF.get(name, "")
    assert (facts.experts > 0) is (facts.active_parameters > 0)


def test_llama_cpp_keeps_compressed_keys_alone() -> None:
    assert kv_bytes_per_token(model_facts(config("deepseek-v3"), None)) == 2 * 61 * (512 + 64)


@pytest.mark.parametrize("name", ALL)
def test_the_inspect_job_says_the_same(name: str) -> None:
    offline = model_facts(config(name), None)
    header = Header({"BF16": offline.parameters}, 0)
    inspected = facts_from_wire(build_facts(config(name), [header], Listing("c", ()), []))
    sized = {"weight_bytes": 0, "download_bytes": 0, "dtype": ""}
    assert replace(inspected, **sized) == replace(offline, **sized)


def test_a_folder_says_what_its_files_hold(tmp_path: Path) -> None:
    awq = config("llama-7b") | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    (tmp_path / "config.json").write_text(json.dumps(awq))
    (tmp_path / "modules.json").write_text("[]")
    weights = {
        "a.qweight": ("I32", [4, 2], b"x" * 32),
        "a.qzeros": ("I32", [1, 2], b"x" * 8),
        "norm.weight": ("F16", [5], b"x" * 10),
    }
    (tmp_path / "model.safetensors").write_bytes(build_safetensors(weights))
    facts = read_model(tmp_path, None)
    assert (facts.parameters, facts.quantization, facts.modality) == (4 * 2 * 8 + 5, "awq", "embedding")
    (tmp_path / "model.safetensors").unlink()
    index = {"metadata": {"total_parameters": 1000, "total_size": 4000}, "weight_map": {}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    facts = read_model(tmp_path, None)
    assert facts.weight_bytes == 4000
    assert facts.parameters == pytest.approx(6.74e9, rel=0.01), "an index counts packed elements"


def test_sizes_of_what_comes_quantised_follow_its_method() -> None:
    assert model_facts(config("gpt-oss-20b"), None).weight_bytes == pytest.approx(13.8e9, rel=0.1)
    assert model_facts(config("deepseek-v3"), None).weight_bytes == pytest.approx(671e9, rel=0.05)


def test_strange_values_are_unknown() -> None:
    strange = config("deepseek-v3") | {
        "num_experts_per_tok": [8], "first_k_dense_replace": None, "moe_layer_freq": ["x"],
        "kv_lora_rank": "512", "layer_types": [1, None], "attn_type_list": {}, "linear_attn_config": [],
        "block_configs": [None], "quantization_config": None, "vision_config": None, "text_config": None,
        "n_shared_experts": True,
    }  # fmt: skip
    facts = model_facts(strange, None)
    assert (facts.modality, facts.quantization) == ("text", "")
    assert facts.kv_elements == 61 * 128 * (128 + 64 + 128), "without a rank whole heads are kept"
    assert 0 < facts.active_parameters < facts.parameters


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "T5ForConditionalGeneration"])
def test_what_neither_writes_nor_embeds_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpecError, match="neither writes text nor embeds") as error:
        model_facts({"architectures": [name]}, None)
    assert error.value.reason == "UnsupportedArchitecture"


def test_existing_quantisation_is_told() -> None:
    quantised = {**config("llama-7b"), "quantization_config": {"quant_method": "gptq", "bits": 4}}
    assert model_facts(quantised, None).quantization == "gptq"


@pytest.mark.parametrize("key", ["architectures", "hidden_size", "num_hidden_layers", "vocab_size"])
def test_no_language_model(key: str) -> None:
    broken = {name: value for name, value in config("smollm2").items() if name != key}
    with pytest.raises(InvalidSpecError, match=key):
        model_facts(broken, None)


def wire() -> dict[str, Any]:
    return {to_camel(name): value for name, value in asdict(MODELS["smollm2-135m"]).items()}


def test_wire_round_trip() -> None:
    assert facts_from_wire({**wire(), "newer": "ignored"}) == MODELS["smollm2-135m"]


@pytest.mark.parametrize("change", [{"layers": None}, {"layers": "30"}, {"parameters": 1.5}])
def test_wire_of_another_shape(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="incomplete"):
        facts_from_wire({**wire(), **change})
    with pytest.raises(ValueError, match="incomplete"):
        facts_from_wire({})
