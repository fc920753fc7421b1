"""``slipway check`` names every mistake with file, document and line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from slipway.__main__ import main
from slipway.cli.check import check_text

RIGHT = """\
apiVersion: slipway.dev/v1alpha1
kind: ModelDeployment
metadata: {name: right}
spec: {model: {source: hf://acme/model}}
"""
WRONG = """\
apiVersion: slipway.dev/v1alpha1
kind: ModelDeployment
metadata:
  name: Wrong
spec:
  model:
    source: hf://acme/model
    sourc: x
  optimize:
    level: Q4_KM
  access:
    allowFrom:
      - namespace: a
      - namespace: 7
  replicas: 1
  replicas: 2
"""
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
"""


def write(folder: Path, *documents: str) -> str:
    path = folder / "model.yaml"
    path.write_text("---\n".join(documents))
    return str(path)


def test_right_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", write(tmp_path, CONFIG_MAP, RIGHT)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "1 ModelDeployment: no mistakes\n")


def test_every_mistake_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, CONFIG_MAP, RIGHT, WRONG)
    assert main(["check", "-o", "json", file]) == 1
    found = json.loads(capsys.readouterr().out)
    before = CONFIG_MAP.count("\n") + RIGHT.count("\n") + 2
    assert [(one["line"] - before, one["path"]) for one in found] == [
        (4, "metadata.name"),
        (8, "spec.model.sourc"),
        (10, "spec.optimize.level"),
        (14, "spec.access.allowFrom[1].namespace"),
        (15, "spec.replicas"),
    ]
    assert {(one["file"], one["document"], one["name"]) for one in found} == {
        (file, 3, "ModelDeployment/Wrong")
    }


def test_text_is_one_line_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, WRONG)
    assert main(["check", file]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[1].startswith(
        f"{file}:8: ModelDeployment/Wrong: spec.model.sourc: no such field; did you mean source?"
    )
    assert lines[1].endswith("[InvalidSpec]")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(RIGHT))
    assert main(["check", "-"]) == 0


def test_broken_yaml_keeps_what_was_found_before() -> None:
    found = check_text("f", f"{WRONG}---\na: [1\n")
    assert [one.reason for one in found].count("InvalidYaml") == 1
    assert len(found) == 6
    assert found[-1].line > WRONG.count("\n")


def test_wrong_version_is_a_mistake() -> None:
    found = check_text("f", RIGHT.replace("v1alpha1", "v1"))
    assert [(one.path, one.line) for one in found] == [("apiVersion", 1)]


def test_engines_are_asked() -> None:
    spec = "spec: {model: {source: hf://acme/model}, engine: {name: nosuch}}\n"
    found = check_text("f", RIGHT.replace("spec: {model: {source: hf://acme/model}}\n", spec))
    assert [(one.path, one.reason) for one in found] == [("spec.engine.name", "UnknownEngine")]


@pytest.mark.parametrize("text", [CONFIG_MAP, ""])
def test_nothing_of_ours_is_a_wrong_command(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", write(tmp_path, text)]) == 2
    assert "no ModelDeployment in" in capsys.readouterr().err


def test_a_list_is_checked_item_by_item(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [f"- {text.replace(chr(10), chr(10) + '  ').strip()}\n" for text in (RIGHT, CONFIG_MAP, WRONG)]
    file = write(tmp_path, CONFIG_MAP, "apiVersion: v1\nkind: List\nitems:\n" + "".join(items))
    assert main(["check", "-o", "json", file]) == 1
    found = json.loads(capsys.readouterr().out)
    before = 2 * CONFIG_MAP.count("\n") + RIGHT.count("\n") + 4
    assert [(one["line"] - before, one["path"]) for one in found] == [
        (4, "metadata.name"),
        (8, "spec.model.sourc"),
        (10, "spec.optimize.level"),
        (14, "spec.access.allowFrom[1].namespace"),
        (15, "spec.replicas"),
    ]
    assert main(["check", write(tmp_path, "kind: List\nitems:\n" + "".join(items[:2]))]) == 0
    assert capsys.readouterr().err == "1 ModelDeployment: no mistakes\n"


LABELS = """\
  engine:
    podOverrides:
      labels:
        ok: a
        A B: a
        a/b/c: a
  model: {source: hf://acme/model}
"""


def test_each_wrong_key_of_a_map_has_its_line() -> None:
    found = check_text("f", f"{RIGHT.partition('spec:')[0]}spec:\n{LABELS}")
    assert [(one.line, one.path) for one in found] == [
        (9, "spec.engine.podOverrides.labels"),
        (10, "spec.engine.podOverrides.labels"),
    ]
    assert "'A B': a key is [PREFIX/]NAME" in found[0].message


def test_what_is_around_the_spec_is_checked() -> None:
    text = RIGHT.replace("{name: right}", "{name: right, namespace: Team A, lables: {}}")
    found = check_text("f", f"{text}replicas: 3\nspc: {{}}\n")
    assert [(one.line, one.path) for one in found] == [
        (3, "metadata.lables"),
        (3, "metadata.namespace"),
        (5, "replicas"),
        (6, "spc"),
    ]
    said = {one.path: one.message for one in found}
    assert "did you mean labels?" in said["metadata.lables"]
    assert "spec.replicas" in said["replicas"]
    assert "did you mean spec?" in said["spc"]


def test_a_control_character_is_a_finding_with_its_line() -> None:
    (found,) = check_text("f", f"{RIGHT}# \x07\n")
    assert (found.reason, found.line) == ("InvalidYaml", 5)


def test_another_kind_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, CONFIG_MAP, RIGHT.replace("ModelDeployment", "ModelDeploymnt"))
    assert main(["check", file]) == 2
    assert f"no ModelDeployment in {file}, only ConfigMap, ModelDeploymnt" in capsys.readouterr().err


def test_other_files_are_checked_beside_an_unreadable_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(tmp_path / "absent.yaml"), write(tmp_path, WRONG)]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert "absent.yaml: No such file or directory" in err


def test_standard_input_twice_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(RIGHT))
    assert main(["check", "-", "-"]) == 0


def test_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "/nonexistent/model.yaml"]) == 2
    assert capsys.readouterr().err == "slipway check: /nonexistent/model.yaml: No such file or directory\n"
