"""``slipway checklist`` without a cluster, a kubeconfig, or a whole object; the rest is in unit/checks."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from slipway.__main__ import main
from slipway.api.modeldeployment import ChecklistStatus, CheckResult
from slipway.cli.checklist import table

CHECKLIST = {
    "profile": "edge",
    "summary": "1/2",
    "results": [
        {"check": "pdb", "result": "PASS", "value": "one", "threshold": "one", "evidence": "there"},
        {
            "check": "authentication",
            "result": "FAIL",
            "value": "none: " + "every caller is served " * 5,
            "threshold": "a key",
            "evidence": "Deployment team/qwen " * 6,
            "fix": "put a gateway before it " * 6,
        },
    ],
}
MODEL = {"kind": "ModelDeployment", "metadata": {"name": "qwen"}, "status": {"checklist": CHECKLIST}}


def kubeconfig(folder: Path, server: str) -> str:
    config = {
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "users": [{"name": "a", "user": {}}],
        "current-context": "a",
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return str(file)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error, without Python's way to write objects."""
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith("slipway checklist: ")
    assert "Error(" not in line
    assert "NoneType" not in line
    return str(line)


def test_a_cluster_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else answers there
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert main(["checklist", "qwen", "--kubeconfig", kubeconfig(tmp_path, server)]) == 2
    line = said(capsys)
    assert f"no answer from {server}: connection refused" in line
    assert "--context" in line


@pytest.mark.parametrize("named", [["--kubeconfig", "absent"], []])
def test_no_kubeconfig_names_the_file(
    named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "absent")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main(["checklist", "qwen", *named]) == 2
    assert "no Kubernetes API to talk to: there is no file absent" in said(capsys)


@pytest.mark.parametrize(("text", "words"), [("a: [", "is no YAML"), ("", "is no kubeconfig"), ("a: 1", "")])
def test_a_broken_kubeconfig_is_named(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    assert main(["checklist", "qwen", "--kubeconfig", str(file)]) == 2
    assert words in said(capsys)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"kind": "ModelDeployment"}, "not one ModelDeployment"),
        ({"kind": "List", "items": [MODEL, MODEL]}, "this is a List"),
        ({"kind": "List", "items": ["x"]}, "this is a List"),
        ([MODEL], "holds no single object"),
        (
            {**MODEL, "status": {"checklist": {"profile": "edge"}}},
            "another version of Slipway (summary: field required)",
        ),
    ],
)
def test_half_an_object(found: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(found))
    assert main(["checklist", "-f", str(file)]) == 2
    assert words in said(capsys)


def test_the_only_item_of_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"kind": "List", "items": [MODEL]}))
    assert main(["checklist", "-f", str(file)]) == 1
    assert capsys.readouterr().out.startswith("qwen: 1/2 passed, profile edge\n")


@pytest.mark.parametrize("width", [60, 80])
def test_a_terminal_gets_lines_of_its_width(width: int) -> None:
    lines = table("qwen", ChecklistStatus.model_validate(CHECKLIST), width).splitlines()
    assert max(len(line) for line in lines) <= width
    texts = [line for line in lines[3:] if line[27:28].strip()]
    assert [line[27:34].strip() for line in texts if line[27:33] in ("asked:", "seen: ", "fix:  ")] == [
        "asked:",
        "seen:",
        "fix:",
    ]


def test_a_pipe_gets_whole_lines() -> None:
    row = CheckResult.model_validate(CHECKLIST["results"][1])
    lines = table("qwen", ChecklistStatus.model_validate(CHECKLIST)).splitlines()
    assert f"FAIL  authentication       {row.value}" in lines
    assert f"{'':27}fix:   {row.fix}" in lines
