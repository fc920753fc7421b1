"""The model's facts have the operator's names and the family's figures."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_runtime.errors import DataError
from slipway_runtime.facts import architecture, build_facts
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.weights import Header

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
}  # fmt: skip
FILES = [RemoteFile("model.safetensors", 2000), RemoteFile("config.json", 30)]


def facts(config: dict[str, Any], *headers: Header) -> dict[str, Any]:
    return build_facts(config, headers, Listing("c", tuple(FILES), "mit"), FILES)


def test_llama() -> None:
    assert facts(LLAMA, Header({"BF16": 900, "F32": 100}, 0), Header({"BF16": 10}, 0)) == {
        "architecture": "LlamaForCausalLM", "parameters": 1010, "layers": 30, "hiddenSize": 576,
        "heads": 9, "kvHeads": 3, "headDim": 64, "vocabSize": 49152, "contextLength": 8192,
        "dtype": "bfloat16", "weightBytes": 2000,
        "downloadBytes": 2030, "license": "mit", "quantization": "",
    }  # fmt: skip


def test_the_older_names_of_gpt2() -> None:
    found = facts(
        {
            "architectures": ["GPT2LMHeadModel"],
            "n_layer": 12,
            "n_embd": 768,
            "n_head": 12,
            "n_positions": 1024,
        }
    )
    assert (found["layers"], found["hiddenSize"], found["contextLength"]) == (12, 768, 1024)
    assert (found["kvHeads"], found["headDim"]) == (12, 64), (
        "without grouped queries every head has its own keys"
    )


def test_a_multimodal_model_nests_its_language_model() -> None:
    nested = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {**LLAMA, "head_dim": 256}}
    found = facts(nested)
    assert (found["architecture"], found["layers"], found["headDim"]) == (
        "Gemma3ForConditionalGeneration",
        30,
        256,
    )


def test_unknown_figures_are_zero_and_null_is_unknown() -> None:
    found = facts({"architectures": ["MambaForCausalLM"], "num_attention_heads": None, "vocab_size": "many"})
    assert [found[key] for key in ("heads", "kvHeads", "headDim", "vocabSize", "parameters")] == [0] * 5
    assert found["dtype"] == ""


def test_quantised_models_say_so() -> None:
    assert facts({**LLAMA, "quantization_config": {"quant_method": "gptq"}})["quantization"] == "gptq"


@pytest.mark.parametrize("names", [None, [], "LlamaForCausalLM", [1]])
def test_a_configuration_without_an_architecture_is_refused(names: object) -> None:
    with pytest.raises(DataError, match="names no architecture"):
        architecture({"architectures": names})


def test_the_keys_are_the_operators() -> None:
    from dataclasses import fields

    from slipway.plan.facts import ModelFacts

    wanted = {
        "".join([first, *map(str.title, rest)])
        for first, *rest in (f.name.split("_") for f in fields(ModelFacts))
    }
    assert set(facts(LLAMA)) == wanted
