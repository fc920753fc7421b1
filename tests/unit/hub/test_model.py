"""The model folders: deterministic bytes, right names, a tokenizer that the tokenizers library accepts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from hack.hub import cache
from hack.hub.model import SMOLLM2, hub_name, tensor_shapes, tiny_model, to_bf16, unpermute
from hack.hub.vocabulary import build_tokenizer
from slipway_runtime.vocabulary import vocabulary as hashed

if TYPE_CHECKING:
    from pathlib import Path

    from hack.hub.vocabulary import Vocabulary


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, vocabulary: Vocabulary) -> None:
    one, two = (tiny_model(tmp_path / name, vocabulary) for name in ("one", "two"))
    other = tiny_model(tmp_path / "other", vocabulary, seed=1)
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes(), file.name
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_the_weights_have_the_names_and_shapes_that_the_config_promises(
    tmp_path: Path, vocabulary: Vocabulary
) -> None:
    folder = tiny_model(tmp_path, vocabulary, layers=3, hidden=128)
    config = json.loads((folder / "config.json").read_text())
    with safe_open(folder / "model.safetensors", "np") as weights:
        names = set(weights.keys())
        embeddings = weights.get_slice("model.embed_tokens.weight")
        assert embeddings.get_shape() == [config["vocab_size"], config["hidden_size"]]
        assert embeddings.get_dtype() == "BF16"
        key = weights.get_slice("model.layers.2.self_attn.k_proj.weight").get_shape()
        head = config["hidden_size"] // config["num_attention_heads"]
        assert key == [config["num_key_value_heads"] * head, 128]
    assert len(names) == 2 + 9 * config["num_hidden_layers"]


def test_smollm2_has_134_515_008_parameters() -> None:
    assert sum(int(np.prod(size)) for size in tensor_shapes(SMOLLM2).values()) == 134_515_008


def test_gguf_names_become_transformers_names() -> None:
    assert hub_name("blk.7.attn_q.weight") == "model.layers.7.self_attn.q_proj.weight"
    assert hub_name("output_norm.weight") == "model.norm.weight"
    with pytest.raises(KeyError):
        hub_name("blk.7.ssm_a.weight")


def test_unpermute_undoes_the_converters_row_order() -> None:
    heads, rows = 3, 24
    weights = np.arange(rows * 5, dtype=np.float32).reshape(rows, 5)
    # What llama.cpp's converter does to query and key weights.
    permuted = weights.reshape(heads, 2, rows // heads // 2, 5).swapaxes(1, 2).reshape(rows, 5)
    assert not np.array_equal(permuted, weights)
    assert np.array_equal(unpermute(permuted, heads), weights)


@pytest.mark.parametrize(
    ("value", "bits"), [(1.0, 0x3F80), (-2.0, 0xC000), (1.00390625, 0x3F80), (1.01171875, 0x3F82), (0.0, 0)]
)
def test_bf16_rounds_to_nearest_even(value: float, bits: int) -> None:
    assert to_bf16(np.array([value])).tolist() == [bits]


def test_the_tokenizer_reads_back_what_it_wrote(vocabulary: Vocabulary) -> None:
    tokenizer = Tokenizer.from_str(json.dumps(build_tokenizer(vocabulary)))
    encoded = tokenizer.encode("<|im_start|>the 42 Ünits")
    assert encoded.tokens[:2] == ["<|im_start|>", "the"]
    assert "42" not in encoded.tokens  # digits stand alone
    assert tokenizer.decode(encoded.ids) == "the 42 Ünits"


def test_a_cache_entry_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "entry"

    def fail() -> None:
        with cache.new_entry(target) as staging:
            (staging / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with cache.new_entry(target) as staging:
        (staging / "file").write_text("whole")
    with cache.new_entry(target) as loser:  # the other builder of a race
        (loser / "file").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]
    assert (target / "file").read_text() == "whole"


def test_the_cache_key_tells_parts_apart() -> None:
    assert cache.key_of(["ab", "c"]) != cache.key_of(["a", "bc"])
    assert cache.key_of(["a"]) == cache.key_of([b"a"])


def test_the_cache_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "own"))
    assert cache.cache_root() == tmp_path / "own"
    monkeypatch.delenv("SLIPWAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_root() == tmp_path / "slipway"


def test_another_vocabulary_has_the_same_size_and_other_numbers(repositories: Path) -> None:
    found = {}
    for name in ("tiny", "branches/refs/v1", "other-vocabulary"):
        text = (repositories / "slipway-test" / name / "tokenizer.json").read_bytes()
        found[name] = (len(json.loads(text)["model"]["vocab"]), hashed(text))
    assert found["tiny"] == found["branches/refs/v1"]
    assert found["tiny"][0] == found["other-vocabulary"][0]
    assert found["tiny"][1] != found["other-vocabulary"][1]


def test_the_adapter_is_for_the_demos_model(repositories: Path) -> None:
    folder = repositories / "slipway-test" / "adapter"
    config = json.loads((folder / "adapter_config.json").read_text())
    with safe_open(folder / "adapter_model.safetensors", "np") as weights:
        names = set(weights.keys())
        name = "base_model.model.model.layers.29.self_attn.q_proj.lora_A.weight"
        assert weights.get_slice(name).get_shape() == [config["r"], SMOLLM2.hidden]
    assert len(names) == 2 * 2 * SMOLLM2.layers
