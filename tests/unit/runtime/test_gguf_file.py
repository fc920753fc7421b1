"""A text in a GGUF file's metadata is found whatever lies before it, in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from gguf import GGUFValueType, GGUFWriter

from slipway_runtime.errors import DataError
from slipway_runtime.gguf_file import read_text

KEY = "tokenizer.chat_template"
TEMPLATE = "{{ messages }} …"
TOKENS = 150_000
"""As Qwen2.5 has them."""
LIMIT_MIB = 128


def write(path: Path, tokens: int = 3, template: str = TEMPLATE) -> Path:
    """Write a file whose template comes behind values of every kind."""
    writer = GGUFWriter(path, "llama")
    for kind in GGUFValueType:
        if kind.name.startswith(("UINT", "INT", "FLOAT")):
            writer.add_key_value(f"test.{kind.name}", 1, kind)
    writer.add_bool("test.bool", val=True)
    writer.add_array("test.nested", [[1, 2], [3, 4]])
    writer.add_token_list([f"token {number}" for number in range(tokens)])
    writer.add_token_scores([0.5] * tokens)
    if template:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_the_text_is_found_behind_everything_else(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf")
    assert read_text(path, KEY) == TEMPLATE
    assert read_text(path, "general.architecture") == "llama"
    assert read_text(path, "test.bool") == "", "no text"
    assert read_text(write(tmp_path / "base.gguf", template=""), KEY) == ""


def test_a_large_vocabulary_needs_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", TOKENS)
    code = (
        "import resource, sys; from pathlib import Path; from slipway_runtime.gguf_file import read_text\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({LIMIT_MIB} << 20,) * 2)\n"
        f"sys.stdout.write(read_text(Path(sys.argv[1]), {KEY!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code, path],
        env={"PYTHONPATH": "runtime"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == TEMPLATE


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\1\0\0\0", b"PK\3\4 something else"])
def test_what_is_no_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_text(path, KEY)
    assert caught.value.reason == "BrokenWeights"


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match="unreadable metadata"):
        read_text(path, KEY)
