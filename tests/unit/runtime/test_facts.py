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
        "downloadBytes": 2030, "license": "mit", "quantization": "", "activeParameters": 0, "experts": 0,
        "modality": "text", "convertible": True, "kvElements": 0,
    }  # fmt: skip


def test_the_older_names_of_gpt2() -> None:
    found = facts(
        {
            "architectures": ["GPT2LMHeadModel"],
            "n_layer": 12,
            "n_embd": 768,
            "n_head": 12,
            "n_positions": 1024,
            "vocab_size": 50257,
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


GEMMA = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {"hidden_size": 2560}}
"""As google/gemma-3-4b-it has it: the rest is left to the configuration's class."""
SHAPES = {
    "language_model.model.embed_tokens.weight": (262208, 2560),
    "language_model.model.layers.33.self_attn.q_proj.weight": (2048, 2560),
    "language_model.model.layers.33.self_attn.k_proj.weight": (1024, 2560),
}
NORM = {"language_model.model.layers.0.self_attn.k_norm.weight": (256,)}


@pytest.mark.parametrize(("shapes", "heads"), [(SHAPES, (2, 1, 1024)), (SHAPES | NORM, (8, 4, 256))])
def test_what_the_configuration_leaves_out_is_in_the_shapes(
    shapes: dict[str, tuple[int, ...]], heads: tuple[int, int, int]
) -> None:
    found = facts(GEMMA, Header({"BF16": 10}, 0, shapes, attends=True))
    assert (found["layers"], found["vocabSize"]) == (34, 262208)
    assert (found["heads"], found["kvHeads"], found["headDim"]) == heads, "at least their product is right"


def test_what_neither_shows_is_refused() -> None:
    with pytest.raises(DataError, match="lacks num_hidden_layers, vocab_size, num_attention_heads"):
        facts(GEMMA, Header({"BF16": 10}, 0, attends=True))


def test_a_model_without_attention_needs_no_heads() -> None:
    config = LLAMA | {"architectures": ["MambaForCausalLM"], "num_attention_heads": None}
    del config["num_key_value_heads"]
    found = facts(config, Header({"BF16": 10}, 0))
    assert [found[key] for key in ("heads", "kvHeads", "headDim")] == [0, 0, 0]


def test_null_and_words_are_unknown() -> None:
    found = facts(LLAMA | {"head_dim": None, "max_position_embeddings": "many"})
    assert (found["headDim"], found["contextLength"], found["dtype"]) == (64, 0, "")


def test_quantised_models_say_so() -> None:
    assert facts({**LLAMA, "quantization_config": {"quant_method": "gptq"}})["quantization"] == "gptq"


def test_the_type_of_a_quantised_model_is_that_of_what_is_not_packed() -> None:
    header = Header({"I32": 900, "F16": 80, "BF16": 90}, 0, packed={"I32": 900}, beside={"BF16": 90})
    found = facts({**LLAMA, "quantization_config": {"quant_method": "awq", "bits": 4}}, header)
    assert (found["dtype"], found["parameters"]) == ("float16", 900 * 8 + 80)


def test_files_that_hold_their_experts_say_what_is_active() -> None:
    mixture = LLAMA | {"num_local_experts": 8, "num_experts_per_tok": 2}
    found = facts(mixture, Header({"BF16": 1000}, 0, routed=800))
    assert (found["experts"], found["activeParameters"]) == (8, 400)


def test_files_of_sentence_transformers_make_it_an_embedding_model() -> None:
    beside = [*FILES, RemoteFile("modules.json", 1)]
    found = build_facts(LLAMA, [], Listing("c", tuple(beside)), beside)
    assert (found["modality"], found["convertible"]) == ("embedding", False)


def test_what_neither_writes_nor_embeds_is_refused() -> None:
    with pytest.raises(DataError, match="neither writes text nor embeds") as caught:
        facts(LLAMA | {"architectures": ["Qwen3ForSequenceClassification"]})
    assert caught.value.reason == "UnsupportedArchitecture"


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
    # The inspection adds the vocabulary where a draft asks for it, and the levels of a source of GGUF files.
    assert {*facts(LLAMA), "vocabulary", "levels", "remoteCode"} == wanted
