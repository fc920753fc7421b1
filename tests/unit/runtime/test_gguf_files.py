"""Of a repository's GGUF files: which are the model, at which levels, and their names once published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_runtime.errors import DataError
from slipway_runtime.gguf_files import (
    ENCODED_LIMIT,
    Stored,
    choose,
    decode,
    encode,
    holds_gguf,
    is_model,
    levels_of,
    model_file,
    published,
)
from slipway_runtime.sources import RemoteFile

SOURCE = "hf://acme/Qwen-7B-GGUF"


def files(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path, 1000 + number) for number, path in enumerate(paths)]


def found(*paths: str, source: str = SOURCE) -> dict[str, list[str]]:
    return {one.level: [file.path for file in one.files] for one in levels_of(files(*paths), source)}


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("Qwen-7B-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen-7b.q4_k_m.gguf", "Q4_K_M"),
        ("Qwen-7B.i1-IQ2_XXS.gguf", "IQ2_XXS"),
        ("ggml-model-Q4_0.gguf", "Q4_0"),
        ("qwen_7b_Q8_0.gguf", "Q8_0"),
        ("Qwen-7B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("Qwen3-8B-FP16.gguf", "F16"),
        ("Qwen-7B-bf16.gguf", "BF16"),
        ("Qwen-7B-Q4_0_4_4.gguf", "Q4_0_4_4"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("Q5_K_M/qwen-7b.gguf", "Q5_K_M"),
        ("model.gguf", ""),
        ("Qwen3-Q.gguf", ""),
    ],
)
def test_the_name_says_the_level(path: str, level: str) -> None:
    assert list(found(path)) == [level]


def test_levels_come_smallest_first_in_folders_and_in_parts() -> None:
    assert found(
        "Qwen-7B-Q2_K.gguf",
        "Q8_0/Qwen-7B-Q8_0-00002-of-00002.gguf",
        "Q8_0/Qwen-7B-Q8_0-00001-of-00002.gguf",
        "README.md",
        "config.json",
        "mmproj-Qwen-7B-F16.gguf",
        "Qwen-7B-imatrix.gguf",
        "nested/Qwen-7B-Q4_K_M.gguf",
    ) == {
        "Q2_K": ["Qwen-7B-Q2_K.gguf"],
        "Q4_K_M": ["nested/Qwen-7B-Q4_K_M.gguf"],
        "Q8_0": ["Q8_0/Qwen-7B-Q8_0-00001-of-00002.gguf", "Q8_0/Qwen-7B-Q8_0-00002-of-00002.gguf"],
    }


def test_of_one_level_twice_the_whole_file_at_the_root_is_taken() -> None:
    twice = ("x/Qwen-7B-Q4_K_M.gguf", "Qwen-7B-Q4_K_M-00001-of-00001.gguf", "Qwen-7B-Q4_K_M.gguf")
    assert found(*twice) == {"Q4_K_M": ["Qwen-7B-Q4_K_M.gguf"]}


def test_of_several_models_the_one_of_the_repository_s_name_is_meant() -> None:
    both = ("Qwen-7B-Q4_K_M.gguf", "Qwen-14B-Q4_K_M.gguf", "Qwen-14B-Q8_0.gguf")
    assert found(*both) == {"Q4_K_M": ["Qwen-7B-Q4_K_M.gguf"]}
    with pytest.raises(DataError, match=r"2 models \(qwen-14b, qwen-7b\)") as caught:
        found(*both, source="hf://acme/all-of-them")
    assert caught.value.reason == "SeveralModels"


def test_parts_that_are_missing_are_no_level() -> None:
    lone = "Qwen-7B-Q8_0-00002-of-00002.gguf"
    assert found(lone, "Qwen-7B-Q4_K_M.gguf") == {"Q4_K_M": ["Qwen-7B-Q4_K_M.gguf"]}
    with pytest.raises(DataError, match="only 1 parts are there") as caught:
        found(lone)
    assert caught.value.reason == "BrokenWeights"


def test_a_name_that_climbs_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        found("../Qwen-7B-Q4_K_M.gguf")
    assert caught.value.reason == "UnsafePath"


@pytest.mark.parametrize(
    ("paths", "is_it"),
    [
        (["a-Q4_K_M.gguf", "config.json", "README.md"], True),
        (["a-Q4_K_M.gguf", "model.safetensors", "config.json"], False),
        (["mmproj-F16.gguf", "config.json"], False),
        (["config.json", "pytorch_model.bin"], False),
        (["a-Q4_K_M.gguf", "original/consolidated.safetensors"], True),
        (["a-F16.gguf", "adapter_config.json", "adapter_model.safetensors"], False),
    ],
)
def test_safetensors_of_a_model_come_first(paths: list[str], *, is_it: bool) -> None:
    assert holds_gguf(files(*paths)) is is_it


def test_parts_are_published_as_llama_cpp_looks_for_them() -> None:
    groups = levels_of(
        files("m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "m-Q2_K.gguf"), "hf://a/m"
    )
    assert [one.path for one in published(choose(groups, "Q8_0"))] == [
        "model-00001-of-00002.gguf",
        "model-00002-of-00002.gguf",
    ]
    assert [one.path for one in published(choose(groups, "Q2_K"))] == ["model.gguf"]
    assert model_file(0) == model_file(1) == "model.gguf"
    with pytest.raises(DataError, match=r"no GGUF file of level Q4_K_M; it has Q2_K, Q8_0") as caught:
        choose(groups, "Q4_K_M")
    assert caught.value.reason == "UnknownLevel"


levels = st.from_regex(r"(UD-)?I?Q[1-8](_[A-Z0-9]{1,3}){0,2}", fullmatch=True)


@given(st.lists(st.builds(Stored, levels, st.integers(1, 10**13), st.integers(1, 999)), max_size=80))
def test_what_the_facts_carry_is_read_back_as_far_as_there_is_room(given: list[Stored]) -> None:
    text = encode(given)
    assert len(text) <= ENCODED_LIMIT
    read = decode(text)
    assert read == tuple(given[: len(read)])
    assert len(read) >= min(len(given), 30)


@pytest.mark.parametrize("text", ["Q4_K_M", "Q4_K_M:x", ":5", "Q4_K_M:5,", "q4:5", f"Q4:{'9' * 16}"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no level with its size"):
        decode(text)


@given(st.lists(st.text(max_size=40).map(lambda name: f"{name}.gguf"), min_size=1, max_size=6))
def test_whatever_files_are_called_there_are_levels_or_a_refusal(paths: list[str]) -> None:
    try:
        groups = levels_of(files(*dict.fromkeys(paths)), SOURCE)
    except DataError:
        return
    assert bool(groups) == any(map(is_model, paths))
    assert len({one.level for one in groups}) == len(groups)
