"""The facts of a model that comes as GGUF: as those of safetensors, and what only GGUF says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from slipway.plan.facts import ModelFacts
from slipway_runtime.errors import DataError
from slipway_runtime.gguf_facts import check_parts, gguf_facts, header_facts, level_of
from slipway_runtime.gguf_header import GgufHeader, Value
from slipway_runtime.sources import RemoteFile
from tests.support.gguf_models import LLAMA_7B, SMALL, Shape, write_gguf


def facts_of(folder: Path, source: str = "hf://acme/m") -> dict[str, Any]:
    paths = sorted(path for path in folder.rglob("*.gguf"))

    def read(file: RemoteFile, start: int, length: int) -> bytes:
        with (folder / file.path).open("rb") as opened:
            opened.seek(start)
            return opened.read(length)

    found = [RemoteFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]
    return gguf_facts(found, source, "", read)[0]


def test_the_facts_of_a_7b(tmp_path: Path) -> None:
    size = write_gguf(tmp_path / "m-Q4_K_M.gguf", "Q4_K_M", LLAMA_7B).stat().st_size
    large = write_gguf(tmp_path / "m-Q8_0.gguf", "Q8_0", LLAMA_7B).stat().st_size
    assert facts_of(tmp_path) == {
        "architecture": "llama", "parameters": LLAMA_7B.parameters, "layers": 32, "hiddenSize": 4096,
        "heads": 32, "kvHeads": 32, "headDim": 128, "vocabSize": 32000, "contextLength": 4096,
        "dtype": "float16", "weightBytes": size, "downloadBytes": size, "license": "mit",
        "quantization": "gguf", "activeParameters": 0, "experts": 0, "modality": "text", "convertible": True,
        "kvElements": 0, "levels": f"Q4_K_M:{size},Q8_0:{large}",
    }  # fmt: skip


def test_the_keys_are_those_of_safetensors_and_the_levels(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m-Q8_0.gguf", "Q8_0")
    keys = {to_camel(one.name) for one in fields(ModelFacts)}
    assert set(facts_of(tmp_path)) == keys - {"vocabulary", "remoteCode"}


def test_a_split_model_is_counted_whole(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m-Q8_0.gguf", "Q8_0", parts=3)
    found = facts_of(tmp_path)
    assert found["parameters"] == SMALL.parameters
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert found["levels"] == f"Q8_0:{total}/3"


def test_a_level_that_no_name_says_is_the_file_s_own(tmp_path: Path) -> None:
    size = write_gguf(tmp_path / "model.gguf", "Q5_K_M").stat().st_size
    assert facts_of(tmp_path)["levels"] == f"Q5_K_M:{size}"
    assert level_of([GgufHeader(elements={"Q4_K": 9, "F32": 1})]) == "Q4_K_M"
    assert level_of([GgufHeader(metadata={"general.file_type": 1024}, elements={"IQ4_XS": 9})]) == "IQ4_XS"


def test_parts_that_contradict_their_names_are_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m-Q8_0.gguf", "Q8_0", parts=2)
    first, second = (tmp_path / f"m-Q8_0-0000{number}-of-00002.gguf" for number in (1, 2))
    second.write_bytes(first.read_bytes())
    with pytest.raises(DataError, match=r"part 0 \(from 0\) of 2, and is 1 of 2 by its name") as caught:
        facts_of(tmp_path)
    assert caught.value.reason == "BrokenWeights"
    with pytest.raises(DataError):
        check_parts(["model.gguf"], [GgufHeader(metadata={"split.count": 2, "split.no": 0})])


def header(architecture: str, elements: int = 10**9, routed: int = 0, **said: Value) -> GgufHeader:
    """A header with the usual figures, other ones by name with ``__`` for a dot."""
    usual: Mapping[str, Value] = {
        "block_count": 4, "embedding_length": 1024, "attention.head_count": 16,
        "attention.head_count_kv": 4, "context_length": 8192,
    }  # fmt: skip
    own = {name.replace("__", "."): value for name, value in said.items()}
    metadata = {f"{architecture}.{name}": value for name, value in {**usual, **own}.items()}
    named = {"general.architecture": architecture, **metadata}
    return GgufHeader(
        {name: value for name, value in named.items() if value != ""},
        {"tokenizer.ggml.tokens": 1000},
        {"Q4_K": elements},
        routed,
        attends=True,
    )


def test_a_mixture_of_experts_has_active_weights() -> None:
    mixture = header("qwen3moe", 30 * 10**9, 28 * 10**9, expert_count=128, expert_used_count=8)
    found = header_facts([mixture])
    assert (found["experts"], found["activeParameters"]) == (128, 30 * 10**9 - 28 * 10**9 * 120 // 128)


def test_the_kv_cache_is_counted_as_llama_cpp_keeps_it() -> None:
    def elements(**said: Value) -> int:
        return int(header_facts([header("x", **said)])["kvElements"])

    assert elements() == 0, "the usual: 2 x 4 layers x 4 heads x 64"
    assert elements(attention__key_length=128, attention__value_length=64) == 4 * 4 * (128 + 64)
    assert elements(attention__head_count_kv=(0, 4, 0, 4)) == 2 * 4 * 2 * 64, "two layers without attention"
    assert elements(full_attention_interval=2) == 2 * 4 * 2 * 64
    latent = {"attention__key_length_mla": 192, "attention__key_length": 576, "attention__head_count_kv": 1}
    assert elements(**latent) == 4 * 576, "compressed keys alone"


@pytest.mark.parametrize(
    ("made", "reason", "words"),
    [
        (header("t5"), "UnsupportedArchitecture", "neither writes text"),
        (header("qwen3", pooling_type=4), "UnsupportedArchitecture", "ranks"),
        (header("llama", block_count=""), "BrokenConfig", "doesn't say its layers"),
        (header("llama", attention__head_count=0), "BrokenConfig", "doesn't say its heads"),
        (header("llama", block_count=2**40), "BrokenConfig", "which no model has"),
        (header("llama", block_count=-5), "BrokenConfig", "which no model has"),
        (header("../llama"), "BrokenConfig", "no name of one"),
        (GgufHeader(metadata={"general.type": "adapter"}), "NoWeights", "an adapter"),
    ],
)
def test_what_is_no_model_is_refused(made: GgufHeader, reason: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        header_facts([made])
    assert caught.value.reason == reason


@pytest.mark.parametrize("made", [header("bert"), header("qwen3", pooling_type=3)])
def test_embedding_models_are_named_so(made: GgufHeader) -> None:
    assert header_facts([made])["modality"] == "embedding"


def test_figures_that_metadata_leaves_out_are_read_off_the_tensors(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m-Q8_0.gguf", "Q8_0", Shape(extra={"llama.vocab_size": 7}))
    assert facts_of(tmp_path)["vocabSize"] == SMALL.vocab, "the tokens count, not what is claimed of them"
