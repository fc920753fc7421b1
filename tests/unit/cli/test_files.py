"""Files as users have them: any encoding with a mark, Lists, anchors, tabs; and what is no YAML at all."""

from __future__ import annotations

import codecs
import io
import json
from pathlib import Path
from typing import Any

import pytest

from slipway.__main__ import main
from slipway.cli import UsageError
from slipway.cli._files import BrokenYamlError, documents, read_data, read_text

ROOT = Path(__file__).resolve().parents[3]
RIGHT = (ROOT / "examples/smollm2.yaml").read_text()
MODEL = str(ROOT / "tests/golden/models/smollm2")


def values(text: str) -> list[Any]:
    return [one.value for one in documents("f", text)]


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
def test_a_mark_says_the_encoding(mark: bytes, encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_bytes(mark + RIGHT.encode(encoding))
    assert read_text(str(file)) == RIGHT
    assert main(["check", str(file)]) == 0
    assert main(["plan", str(file), "--model", MODEL]) == 0


def test_standard_input_is_decoded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    data = codecs.BOM_UTF16_LE + RIGHT.encode("utf-16-le")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
    assert main(["check", "-"]) == 0


@pytest.mark.parametrize("command", [["check"], ["plan", "--model", MODEL], ["checklist", "-f"]])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfa\x00", "is no UTF-8 text (byte 1)"),
        (b"\xff\xfea", "is no UTF-16 text"),
        (None, "is a folder"),
    ],
)
def test_what_is_no_text_is_said(
    command: list[str], content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.yaml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    assert main([*command, str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"slipway {command[0]}: {file}")
    assert words in line


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: \x07\n", 2, "U+0007"),
        ("a: [1\n", 2, "did not find expected"),
        ("a: 1\n---\n\nb: &x [*x]\n", 4, "ircular"),
        ("a: 1\n---\n? {a: 1}\n: 2\n", 3, "unhashable"),
        ("a: !!int x\n", 1, "invalid literal"),
        ("[" * 5000, 1, ""),
    ],
)
def test_what_is_no_yaml_is_named_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(BrokenYamlError) as error:
        values(text)
    assert words in error.value.cause
    assert words == "" or error.value.line == line
    assert str(error.value).startswith(f"f:{error.value.line}: ")


@pytest.mark.parametrize("command", [["plan", "--model", MODEL], ["render"], ["checklist", "-f"]])
def test_a_control_character_is_a_wrong_file(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(RIGHT + "# \x07\n")
    assert main([*command, str(file)]) == 2
    assert f"{file}:{RIGHT.count(chr(10)) + 1}: the character U+0007" in capsys.readouterr().err


def test_items_of_a_list_keep_their_lines() -> None:
    text = "a: 1\n---\nkind: List\nitems:\n- kind: A\n- {kind: B, b: 1, b: 2}\n"
    found = list(documents("f", text))
    assert [(one.kind, one.number, one.node.start_mark.line + 1) for one in found] == [
        ("", 1, 1),
        ("A", 2, 5),
        ("B", 2, 6),
    ]
    assert [one.twice for one in found] == [(), (), (("b",),)]


def test_yaml_is_read_as_kubectl_reads_it() -> None:
    assert values("a: 2024-02-31\n2: b\ntrue: c\n") == [{"a": "2024-02-31", "2": "b", "true": "c"}]


def test_a_merged_key_is_not_written_twice() -> None:
    text = "base: &base {a: 1, b: 1}\nuse: {<<: *base, b: 2}\n"
    (found,) = documents("f", text)
    assert (found.value["use"], found.twice) == ({"a": 1, "b": 2}, ())


def test_json_with_tabs_and_escaped_pairs() -> None:
    text = '{\n\t"kind": "A",\n\t"text": "\\ud83d\\ude00"\n}'
    (found,) = documents("f", text)
    assert found.value == {"kind": "A", "text": "😀"}


def test_a_long_list_of_nodes_is_quick(tmp_path: Path) -> None:
    # YAML would take a minute for it: kubectl's JSON is read as JSON.
    node = {"kind": "Node", "metadata": {"name": "n"}, "status": {"images": [{"names": ["x" * 80] * 2}] * 50}}
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps({"kind": "List", "items": [node] * 1000}))
    assert len(read_data(str(file))["items"]) == 1000


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        read_text("-")
