"""Facts from config.json and from an inspect Job."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from slipway.errors import InvalidSpecError
from slipway.plan.model_config import facts_from_wire, model_facts
from tests.support.planning import MODELS

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
