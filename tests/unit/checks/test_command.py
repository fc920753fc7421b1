"""``slipway checklist``: what it prints, and its exit codes."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from slipway.checks import Input, checklist_status
from slipway.cli import checklist
from tests.support.http_server import answering


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    checklist.add_parser(parser.add_subparsers())
    args = parser.parse_args(["checklist", *words])
    code: int = args.run(args)
    return code


def saved(folder: Path, status: dict[str, Any], kind: str = "ModelDeployment") -> str:
    file = folder / "qwen.json"
    file.write_text(json.dumps({"kind": kind, "metadata": {"name": "qwen"}, "status": status}))
    return str(file)


@pytest.fixture
def wire(healthy: Input) -> dict[str, Any]:
    return checklist_status(healthy).model_dump(by_alias=True, exclude_none=True)


def test_all_pass_prints_a_line_each(
    tmp_path: Path, wire: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("-f", saved(tmp_path, {"checklist": wire})) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "qwen: 18/18 passed, profile edge"
    assert len(out) == 19
    assert all(line.startswith("PASS  ") for line in out[1:])


def test_a_fail_shows_what_was_asked_seen_and_the_fix(
    tmp_path: Path, healthy: Input, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy.children["Deployment"]["spec"]["template"]["spec"]["containers"][0]["args"] = []
    wire = checklist_status(healthy).model_dump(by_alias=True, exclude_none=True)
    assert call("-f", saved(tmp_path, {"checklist": wire})) == 1
    out = capsys.readouterr().out
    assert "FAIL  authentication       none: every admitted caller is served" in out
    assert "fix:   nothing can make this PASS yet" in out
    assert "seen:  Deployment team/qwen" in out


def test_json_is_the_status(tmp_path: Path, wire: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("-o", "json", "-f", saved(tmp_path, {"checklist": wire})) == 0
    assert json.loads(capsys.readouterr().out) == wire


def test_stdin(wire: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"kind": "ModelDeployment", "metadata": {"name": "qwen"}, "status": {"checklist": wire}}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(found)))
    assert call("-f", "-") == 0


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ({}, "ModelDeployment", "no checklist yet"),
        ({"progress": "Quantizing 43%"}, "ModelDeployment", "Quantizing 43%"),
        ({}, "List", "this is a List"),
        ({"pools": [{"modelDeployment": "qwen-a"}]}, "ModelDeployment", "ask for one of them (qwen-a)"),
        ({"checklist": {"score": 1}}, "ModelDeployment", "another version"),
    ],
)
def test_nothing_to_print_says_why(
    status: dict[str, Any], kind: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("-f", saved(tmp_path, status, kind)) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "\tno: yaml: at all"])
def test_a_file_without_an_object(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert call("-f", str(file)) == 2


def test_neither_name_nor_file_and_a_missing_file(tmp_path: Path) -> None:
    assert call() == 2
    assert call("-f", str(tmp_path / "absent.json")) == 2


def test_no_cluster_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("qwen", "--kubeconfig", str(tmp_path / "absent"), "-n", "team") == 2
    assert "no Kubernetes API to talk to" in capsys.readouterr().err


@pytest.fixture
def api(wire: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Serve one model of namespace ``team`` as an API server would; also yields the paths asked for."""
    asked: list[str] = []
    found = {"kind": "ModelDeployment", "metadata": {"name": "qwen"}, "status": {"checklist": wire}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            known = self.path == "/apis/slipway.dev/v1alpha1/namespaces/team/modeldeployments/qwen"
            body = json.dumps(found if known else {"reason": "NotFound", "message": "no such model"}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering(Handler) as url:
        yield url, asked


def kubeconfig(folder: Path, server: str) -> str:
    contexts = [
        {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
        {"name": "bare", "context": {"cluster": "c", "user": "u"}},
    ]
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(content))
    return str(file)


def test_the_namespace_is_the_contexts_as_with_kubectl(
    tmp_path: Path, api: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    server, asked = api
    config = kubeconfig(tmp_path, server)
    assert call("qwen", "--kubeconfig", config) == 0
    assert "18/18 passed" in capsys.readouterr().out
    assert call("qwen", "--kubeconfig", config, "--context", "bare") == 2
    assert "no such model" in capsys.readouterr().err
    assert call("qwen", "--kubeconfig", config, "--context", "bare", "-n", "team") == 0
    assert [path.split("/")[5] for path in asked] == ["team", "default", "team"]
