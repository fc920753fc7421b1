"""The demo's eyes: when it stops waiting, what it prints to go on with."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hack.demo import demo, question

ROOT = Path(__file__).resolve().parents[3]
# Plays kubectl: prints the file that the test wrote, or fails with the words of another.
KUBECTL = """#!/bin/sh
dir=$(dirname "$0")
[ -e "$dir/stderr" ] && { cat "$dir/stderr" >&2; exit 1; }
case " $* " in *" port-forward "*) cat "$dir/forward"; exit 0;; esac
[ ! -e "$dir/stdout" ] || cat "$dir/stdout"
"""


@pytest.fixture
def kubectl(tmp_path: Path) -> demo.Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    made = demo.Kubectl("")
    made.base = [str(program)]
    return made


def model(status: dict[str, Any], generation: int = 2) -> str:
    return json.dumps({"metadata": {"generation": generation}, "status": {"observedGeneration": 2, **status}})


def test_a_standing_failure_ends_the_wait_at_once(kubectl: demo.Kubectl, tmp_path: Path) -> None:
    failure = {"reason": "GatedRepository", "message": "accept the licence"}
    (tmp_path / "stdout").write_text(model({"failure": failure}))
    with pytest.raises(demo.DemoError, match="GatedRepository: accept the licence"):
        demo.watch(kubectl, "m", 30)


def test_a_failure_of_an_older_spec_does_not_count(kubectl: demo.Kubectl, tmp_path: Path) -> None:
    failure = {"reason": "GatedRepository", "message": "accept the licence"}
    (tmp_path / "stdout").write_text(model({"failure": failure}, generation=3))
    with pytest.raises(demo.DemoError, match="not ready after"):
        demo.watch(kubectl, "m", 0.1)


def test_kubectls_own_words_are_shown(
    kubectl: demo.Kubectl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stderr").write_text("connection refused")
    with pytest.raises(demo.DemoError, match="connection refused"):
        demo.watch(kubectl, "m", 0.1)
    assert "connection refused" in capsys.readouterr().out


def test_a_missing_service_and_a_silent_one_are_named(kubectl: demo.Kubectl, tmp_path: Path) -> None:
    with pytest.raises(demo.DemoError, match="the Service m is gone"):
        demo.ask(kubectl, "m")
    (tmp_path / "stdout").write_text('{"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": 1}]}}')
    with pytest.raises(demo.DemoError, match=r"asking the model: .*refused"):
        demo.ask(kubectl, "m")


def test_the_forwarded_port_is_the_one_that_kubectl_names(kubectl: demo.Kubectl, tmp_path: Path) -> None:
    (tmp_path / "forward").write_text("Forwarding from 127.0.0.1:40123 -> 8080\n")
    with question.forwarded(kubectl.base, "m", "ns", 8080) as base:
        assert base == "http://127.0.0.1:40123"


def test_a_forward_that_does_not_start_is_an_error(kubectl: demo.Kubectl, tmp_path: Path) -> None:
    (tmp_path / "stderr").write_text("service not found")
    with (
        pytest.raises(OSError, match="service not found"),
        question.forwarded(kubectl.base, "m", "ns", 8080),
    ):
        pass


@pytest.mark.parametrize("context", ["", "kind-kind"])
def test_printed_commands_name_programs_that_are_there(context: str) -> None:
    for line in demo.next_commands(demo.Kubectl(context), "m"):
        words = shlex.split(line, comments=True)
        if "/" in words[0]:
            assert (ROOT / words[0]).exists(), line
        else:
            assert words[0] in {"kubectl", "make", "export"}, line
        assert ("--context" in words) == (bool(context) and words[0] == "kubectl")


@pytest.mark.parametrize("name", ["https_proxy", "HTTP_PROXY"])
def test_behind_a_proxy_the_cluster_is_named_as_an_exception(name: str) -> None:
    (line,) = demo.past_proxy({name: "http://proxy.example:3128", "no_proxy": "a.example"})
    environment = {"PATH": "/usr/bin:/bin", "no_proxy": "a.example"}
    program = ["bash", "-c", f'{line}\necho "$NO_PROXY"; echo "$no_proxy"']
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == ["198.18.0.1,198.18.0.0/15,127.0.0.1,a.example"] * 2
    assert demo.past_proxy({name: "", "NO_PROXY": "a.example"}) == []


def test_the_proxy_is_passed_only_on_the_way_to_the_local_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert demo.next_commands(demo.Kubectl(""), "m")[0].startswith("export NO_PROXY=")
    assert not any("NO_PROXY" in line for line in demo.next_commands(demo.Kubectl("kind-kind"), "m"))


def test_printed_make_targets_exist() -> None:
    lines = [line for line in demo.next_commands(demo.Kubectl(""), "m") if line.startswith("make ")]
    for line in lines:
        target = shlex.split(line, comments=True)[1]
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
