"""The cluster's Go programs: what decides where one lies, and how a build is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.cluster import tools

GO = """#!/bin/sh
# Plays `go build -v … -o DIR/ PACKAGE…`: names two packages and makes an empty program for each package.
[ "$1" = env ] && { echo "${FAKE_GO:-go1.26.6}"; exit; }
case " $* " in *" -buildvcs=false "*) ;; *) echo "error obtaining VCS status" >&2; exit 1;; esac
[ -n "$FAKE_FAIL" ] && { echo "undefined: everything" >&2; exit 1; }
echo example.org/a >&2; echo example.org/b >&2
while [ "$1" != -o ]; do shift; done
out=$2; shift 2
for package in "$@"; do echo "$package" > "$out$(basename "$package")"; done
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake = tmp_path / "path" / "go"
    fake.parent.mkdir()
    fake.write_text(GO)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    return fake


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the modules, to change."""
    copy = tmp_path / "tools"
    for path in tools.SOURCES.rglob("*"):
        if path.suffix in {".mod", ".sum", ".go"}:
            target = copy / path.relative_to(tools.SOURCES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    monkeypatch.setattr(tools, "SOURCES", copy)
    return copy


def test_the_version_stamp_follows_the_pin() -> None:
    tool = tools.catalogue()["kube-apiserver"]
    pinned = dict(tool.stamps)["k8s.io/component-base/version.gitVersion"]
    assert f"k8s.io/kubernetes {pinned}" in (tools.SOURCES / "go.mod").read_text()
    assert any(f"gitVersion={pinned}" in flag for flag in tool.flags)


def test_a_program_moves_with_each_of_its_inputs(sources: Path) -> None:
    tool = tools.catalogue()["coredns"]
    first = tools.key(tool, "go1.26.6", "x86_64")
    seen = {first, tools.key(tool, "go1.26.7", "x86_64"), tools.key(tool, "go1.26.6", "aarch64")}
    for name in ("go.mod", "go.sum", "coredns/main.go"):
        path = sources / name
        path.write_text(path.read_text() + "\n")
        seen.add(tools.key(tool, "go1.26.6", "x86_64"))
    assert len(seen) == 6


def test_a_program_stays_when_another_module_changes(sources: Path) -> None:
    tool = tools.catalogue()["containerd"]
    first = tools.key(tool, "go1.26.6", "x86_64")
    (sources / "go.mod").write_text((sources / "go.mod").read_text() + "\n")
    assert tools.key(tool, "go1.26.6", "x86_64") == first


def test_a_build_happens_once(go: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tools.ensure(["kubelet", "helm"])
    assert {path.name for path in first.values()} == {"kubelet", "helm"}
    assert all(path.exists() for path in first.values())
    assert "2 packages compiled" in capsys.readouterr().out
    assert tools.ensure(["helm", "kubelet"]) == first
    assert capsys.readouterr().out == ""


def test_a_failed_build_says_why_and_leaves_nothing(
    go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "yes")
    with pytest.raises(tools.BuildError, match="undefined: everything"):
        tools.ensure(["kubelet"])
    assert list((tmp_path / "cache" / "bin").iterdir()) == []


def test_programs_with_the_same_flags_are_built_together() -> None:
    batches = tools.batches(["kubelet", "containerd", "kube-proxy", "coredns", "ctr"])
    assert batches == [["kubelet", "kube-proxy"], ["containerd", "ctr"], ["coredns"]]


def test_an_old_go_is_refused_in_words(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GO", "go1.25.9")
    monkeypatch.setattr(tools, "GO_ELSEWHERE", ())
    with pytest.raises(tools.BuildError, match=r"bootstrap\.sh"):
        tools.ensure(["kubelet"])


def test_an_unknown_tool_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.main(["kubeadm"]) == 2
    assert "kubeadm" in capsys.readouterr().err


def test_a_program_is_called_as_we_call_it(go: Path) -> None:
    # Go names it after its package, which is `cmd` here.
    path = tools.ensure(["lws"])["lws"]
    assert path.name == "lws"
    assert path.read_text() == "sigs.k8s.io/lws/cmd\n"


def test_what_only_tests_need_is_built_by_name(go: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.main([]) == 0
    programs = {Path(line).name for line in capsys.readouterr().out.splitlines() if line.startswith("/")}
    assert programs == set(tools.catalogue()) - {"metrics-server", "kwok", "lws", "registry", "versitygw"}
