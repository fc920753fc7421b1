"""What is read of drafts, heads and adapters, and what of them is fetched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hack.hub.adapter import lora_adapter
from hack.hub.model import Shape
from slipway_runtime import inspection
from slipway_runtime.companion_facts import adapter_facts, heads_facts
from slipway_runtime.errors import DataError, StageError
from slipway_runtime.fetch import fetch
from slipway_runtime.inspection import inspect
from slipway_runtime.vocabulary import vocabulary
from slipway_runtime.weights import Header, check_weights

from .conftest import CONFIG, Bench, HubServer, build_repository

SHAPE = Shape(hidden=64, ffn=128, layers=2, heads=4, kv_heads=2, vocabulary=128)
LORA = {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"], "base_model_name_or_path": "acme/tiny"}
TOKENS = {"model": {"type": "BPE", "vocab": {"a": 0, '"}': 1, "vocab": 2}, "merges": [["a", "}"]]}}
NO_TENSORS = Header({}, 0)


def ask(bench: Bench, hub: HubServer, name: str, role: str) -> dict[str, Any]:
    source = f"hf://acme/{name}"
    return inspect(bench.job("inspect", HF_ENDPOINT=hub.url, SLIPWAY_SOURCE=source, SLIPWAY_ROLE=role))


def refused(bench: Bench, hub: HubServer, name: str, role: str) -> StageError:
    with pytest.raises(StageError) as caught:
        ask(bench, hub, name, role)
    return caught.value


def test_an_adapter_is_read_and_fetched(bench: Bench, hub: HubServer) -> None:
    lora_adapter(hub.root / "acme" / "sql", SHAPE, "acme/tiny", rank=4)
    found = ask(bench, hub, "sql", "lora")
    facts = found["facts"]
    assert (facts["rank"], facts["hiddenSize"], facts["base"]) == (4, 64, "acme/tiny")
    assert facts["targets"] == ["q_proj", "v_proj"]
    assert facts["weightBytes"] < facts["downloadBytes"]
    source = {"SLIPWAY_SOURCE": "hf://acme/sql", "SLIPWAY_REVISION": found["commit"]}
    result = fetch(bench.job("fetch", HF_ENDPOINT=hub.url, **source))
    assert result["files"] == found["files"] == 2
    published = bench.store / "published"
    assert check_weights(published / "adapter_model.safetensors").shapes
    assert (published / "adapter_config.json").is_file()


def test_an_adapter_is_no_model_and_a_model_no_adapter(bench: Bench, hub: HubServer) -> None:
    lora_adapter(hub.root / "acme" / "sql", SHAPE, "acme/tiny")
    found = refused(bench, hub, "sql", "")
    assert found.reason == "NoWeights"
    assert "spec.model.adapters" in found.message
    assert refused(bench, hub, "tiny", "lora").reason == "NotAnAdapter"


def test_a_repository_with_a_model_beside_its_adapter_is_refused(bench: Bench, hub: HubServer) -> None:
    folder = lora_adapter(hub.root / "acme" / "sql", SHAPE, "acme/tiny")
    shutil.copy(folder / "adapter_model.safetensors", folder / "model.safetensors")
    found = refused(bench, hub, "sql", "lora")
    assert (found.reason, "model.safetensors" in found.message) == ("NotAnAdapter", True)


def test_a_truncated_adapter_is_refused(bench: Bench, hub: HubServer) -> None:
    weights = lora_adapter(hub.root / "acme" / "sql", SHAPE, "acme/tiny") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert refused(bench, hub, "sql", "lora").reason == "TruncatedWeights"


def test_a_pickled_adapter_is_refused(bench: Bench, hub: HubServer) -> None:
    folder = lora_adapter(hub.root / "acme" / "sql", SHAPE, "acme/tiny")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert refused(bench, hub, "sql", "lora").reason == "PickleOnly"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "IA3"}, "'IA3'"),
        ({"peft_type": None}, "peft_type None"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "biases"),
        ({"use_qalora": True}, "QALoRA"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"r": None}, "no rank"),
        ({"r": 0}, "no rank"),
        ({"r": "8"}, "no rank"),
        ({"rank_pattern": {"q_proj": "8"}}, "no rank"),
    ],
)
def test_what_no_engine_serves_beside_a_base_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        adapter_facts(LORA | changes, NO_TENSORS)
    assert caught.value.reason == "NotAnAdapter"


def test_the_largest_rank_counts() -> None:
    assert adapter_facts(LORA | {"rank_pattern": {"q_proj": 32, "v_proj": 4}}, NO_TENSORS)["rank"] == 32
    assert adapter_facts(LORA | {"target_modules": "all-linear"}, NO_TENSORS)["targets"] == ["all-linear"]


def test_heads_are_read(bench: Bench, hub: HubServer) -> None:
    folder = build_repository(hub.root / "acme" / "heads")
    config = {"model_type": "mlp_speculator", "n_predict": 3, "emb_dim": 64, "vocab_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    facts = ask(bench, hub, "heads", "mlp")["facts"]
    assert (facts["heads"], facts["hiddenSize"], facts["vocabSize"]) == (3, 64, 128)
    found = refused(bench, hub, "heads", "medusa")
    assert (found.reason, "'mlp_speculator'" in found.message) == ("NotHeads", True)
    assert refused(bench, hub, "tiny", "mlp").reason == "NotHeads"


def test_medusa_says_its_heads_by_two_names() -> None:
    for name in ("num_heads", "medusa_num_heads"):
        facts = heads_facts({"model_type": "medusa", name: 5, "hidden_size": 64}, "medusa")
        assert (facts["heads"], facts["vocabSize"]) == (5, 0)
    assert heads_facts({"medusa_num_heads": 3}, "medusa")["heads"] == 3


def test_medusas_own_file_name_is_taken_where_there_is_no_model(bench: Bench, hub: HubServer) -> None:
    folder = build_repository(hub.root / "acme" / "heads")
    (folder / "model.safetensors").rename(folder / "medusa_lm_head.safetensors")
    (folder / "config.json").write_text(json.dumps({"medusa_num_heads": 3, "hidden_size": 64}))
    found = ask(bench, hub, "heads", "medusa")
    assert found["facts"]["weightBytes"] == (folder / "medusa_lm_head.safetensors").stat().st_size
    source = {"SLIPWAY_SOURCE": "hf://acme/heads", "SLIPWAY_REVISION": found["commit"]}
    assert fetch(bench.job("fetch", HF_ENDPOINT=hub.url, **source))["files"] == found["files"]
    assert (bench.store / "published" / "medusa_lm_head.safetensors").is_file()
    assert refused(bench, hub, "heads", "").reason == "NoWeights"


def test_the_vocabulary_is_read_where_a_draft_asks_for_it(bench: Bench, hub: HubServer) -> None:
    (hub.root / "acme/tiny/tokenizer.json").write_text(json.dumps(TOKENS))
    expected = vocabulary(json.dumps(TOKENS).encode())
    assert len(expected) == 16
    for role in ("base", "draft"):
        assert ask(bench, hub, "tiny", role)["facts"]["vocabulary"] == expected
    assert "vocabulary" not in ask(bench, hub, "tiny", "")["facts"]
    (hub.root / "acme/tiny/tokenizer.json").unlink()
    assert ask(bench, hub, "tiny", "base")["facts"]["vocabulary"] == ""


def test_a_vocabulary_that_is_too_large_is_not_read(
    bench: Bench, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hub.root / "acme/tiny/tokenizer.json").write_text(json.dumps(TOKENS))
    monkeypatch.setattr(inspection, "LIMIT", 9)
    assert ask(bench, hub, "tiny", "draft")["facts"]["vocabulary"] == ""


def test_a_vocabulary_is_its_tokens_and_their_numbers() -> None:
    def hashed(**changes: Any) -> str:
        model = {**TOKENS["model"], **changes.pop("model", {})}
        return vocabulary(json.dumps({**TOKENS, "model": model, **changes}).encode())

    plain = hashed()
    assert hashed(model={"merges": []}, version="2.0") == plain
    assert hashed(model={"vocab": {"vocab": 2, '"}': 1, "a": 0}}) == plain
    assert hashed(model={"vocab": {"a": 1, '"}': 0, "vocab": 2}}) != plain
    assert hashed(added_tokens=[{"id": 3, "content": "<pad>"}]) != plain
    assert hashed(added_tokens=[{"id": 0, "content": "a", "special": True}]) == plain
    scored = [["a", -1.0], ['"}', -2.5], ["vocab", 0]]
    assert hashed(model={"type": "Unigram", "vocab": scored}) == plain


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"model": {"vocab": {"a": }}}', b'{"vocab": [[]]}', b'"vocab": {']
)
def test_no_vocabulary_is_empty(text: bytes) -> None:
    assert vocabulary(text) == ""


def test_the_vocabulary_of_a_real_tokenizer_is_the_librarys(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")]))
    tokenizer.add_special_tokens(["<s>"])
    plain = json.dumps({"model": {"vocab": tokenizer.get_vocab()}}).encode()
    assert vocabulary(tokenizer.to_str().encode()) == vocabulary(plain)


def test_the_base_of_a_draft_is_inspected_as_ever(bench: Bench, hub: HubServer) -> None:
    facts = ask(bench, hub, "tiny", "base")["facts"]
    assert (facts["architecture"], facts["vocabSize"]) == (CONFIG["architectures"][0], 128)
