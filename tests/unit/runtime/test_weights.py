"""Which files are the model, and whether they are whole."""

from __future__ import annotations

import pytest

from slipway_runtime.errors import DataError, NotFoundError, StageError
from slipway_runtime.sources import RemoteFile
from slipway_runtime.weights import Header, check_index, read_header, require_safe, select_files

from .conftest import build_safetensors


def remote(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path, 1) for path in paths]


def read(content: bytes, size: int | None = None) -> Header:
    return read_header(
        "model.safetensors",
        len(content) if size is None else size,
        lambda start, length: content[start : start + length],
    )


def test_only_weights_configuration_tokenizer_and_licence_are_taken() -> None:
    wanted = {
        "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "tokenizer.json", "tokenizer.model", "merges.txt",
        "chat_template.jinja", "LICENSE", "1_Pooling/config.json", "2_Dense/model.safetensors",
    }  # fmt: skip
    others = {
        "README.md", "pytorch_model.bin", "consolidated.safetensors", "onnx/model.onnx", "modeling_llama.py",
        "manifest.json", "original/model.safetensors", "model.gguf", "flax_model.msgpack", ".gitattributes",
    }  # fmt: skip
    assert {file.path for file in select_files(remote(*wanted, *others))} == wanted


@pytest.mark.parametrize(
    ("paths", "kind", "reason"),
    [
        (["model.safetensors"], NotFoundError, "NoConfig"),
        (["config.json", "pytorch_model.bin"], DataError, "PickleOnly"),
        (["config.json", "weights/consolidated.00.pth"], DataError, "PickleOnly"),
        (["config.json", "model-Q4_K_M.gguf"], DataError, "NoWeights"),
        (["config.json"], DataError, "NoWeights"),
        (["config.json", "model.safetensors", "../../etc/passwd.json"], DataError, "UnsafePath"),
    ],
)
def test_repositories_that_are_refused(paths: list[str], kind: type[StageError], reason: str) -> None:
    with pytest.raises(kind) as caught:
        select_files(remote(*paths))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "a/../../b", "..", "..\\b", "\\\\host\\share", "C:\\x", "", "a\0b"]
)
def test_names_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(DataError, match="leads out of its folder"):
        require_safe(path)


def test_names_that_stay_inside_are_taken() -> None:
    for path in ("config.json", "a/b/c.json", "..hidden", "a..b"):
        require_safe(path)


def test_header_counts_parameters_by_dtype() -> None:
    content = build_safetensors(
        {"a": ("BF16", [2, 3], b"x" * 12), "b": ("F32", [2], b"x" * 8), "c": ("BF16", [], b"xx")}
    )
    assert read(content) == Header({"BF16": 7, "F32": 2}, len(content))


def test_a_long_header_is_read_in_two_parts() -> None:
    content = build_safetensors({f"tensor.{number:06d}": ("F32", [1], b"xxxx") for number in range(3000)})
    asked: list[tuple[int, int]] = []

    def read_part(start: int, length: int) -> bytes:
        asked.append((start, length))
        return content[start : start + length]

    assert read_header("m", len(content), read_part).parameters == {"F32": 3000}
    assert len(asked) == 2


@pytest.mark.parametrize("cut", [1, 12, -1])
def test_a_truncated_file_is_recognised_by_its_own_header(cut: int) -> None:
    content = build_safetensors({"a": ("BF16", [2, 3], b"x" * 12)})
    shorter = content[:-cut] if cut > 0 else content[:40]
    with pytest.raises(DataError) as caught:
        read(shorter)
    assert caught.value.reason == "TruncatedWeights"
    assert f"has {len(shorter)} bytes" in caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        (2**60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (4).to_bytes(8, "little") + b"oops",
        (17).to_bytes(8, "little") + b'{"a":{"dtype":1}}',
        build_safetensors({"a": ("BF16", [1], b"xx")}) + b"more",
    ],
)
def test_other_damage_is_broken_weights(content: bytes) -> None:
    with pytest.raises(DataError) as caught:
        read(content)
    assert caught.value.reason == "BrokenWeights"


def test_seven_bytes_are_no_safetensors() -> None:
    with pytest.raises(DataError, match="too short"):
        read(b"1234567")


def test_an_index_may_only_name_what_is_there() -> None:
    present = remote("model-00001-of-00002.safetensors")
    check_index({"weight_map": {"a": "model-00001-of-00002.safetensors"}}, present)
    with pytest.raises(DataError, match="names 1 files that the repository lacks: model-00002"):
        check_index({"weight_map": {"a": "model-00002-of-00002.safetensors"}}, present)
    with pytest.raises(DataError, match="no weight_map"):
        check_index({}, present)
