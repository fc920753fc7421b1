"""The command line: every file is a command, errors are one line, help says the exit codes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import slipway.cli
from slipway.__main__ import main
from slipway.cli import build_parser
from slipway.cli.completion import read_commands

ROOT = Path(__file__).resolve().parents[3]


def test_every_file_is_a_command() -> None:
    files = {path.stem for path in Path(str(slipway.cli.__file__)).parent.glob("*.py")} - {"__init__"}
    commands = {command.name for command in read_commands(build_parser())}
    assert commands == files
    assert {"check", "completion", "crd", "version"} <= commands


def test_help_says_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["check", "--help"])
    assert stop.value.code == 0
    assert "exit codes:" in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["nosuch"])
    assert stop.value.code == 2
    assert "invalid choice: 'nosuch'" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"slipway {slipway.__version__}, API slipway.dev/v1alpha1\n"


def copy_of_crds(folder: Path) -> Path:
    for part in ("crds", "charts/slipway/files/crds"):
        shutil.copytree(ROOT / part, folder / part)
    return folder


def test_crd_check_finds_an_edited_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = copy_of_crds(tmp_path)
    assert main(["crd", "--check", "--root", str(root)]) == 0
    edited = root / "charts/slipway/files/crds/slipway.dev_modelartifacts.yaml"
    edited.write_text(edited.read_text().replace("mart", "art"))
    assert main(["crd", "--check", "--root", str(root)]) == 1
    out, err = capsys.readouterr()
    assert f"--- {edited}" in out
    assert "run slipway crd" in err
    assert main(["crd", "--root", str(root)]) == 0
    assert main(["crd", "--check", "--root", str(root)]) == 0


def test_crd_outside_of_the_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crd", "--root", str(tmp_path)]) == 2
    assert "name the repository with --root" in capsys.readouterr().err


def test_crd_print_is_what_the_repository_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crd", "--print"]) == 0
    assert "name: modeldeployments.slipway.dev" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in read_commands(build_parser()):
        assert command.name in script


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("sli che", {"check", "checklist"}),
        ("slipway crd --c", {"--check"}),
        ("slipway completion z", {"zsh"}),
    ],
)
def test_bash_completes(words: str, wanted: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    line = " ".join(f"'{word}'" for word in words.split())
    last = len(words.split()) - 1
    probe = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={last}; _slipway; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == wanted


def test_reader_that_stops_reading_is_no_error() -> None:
    command = f"set -o pipefail; {sys.executable} -m slipway crd --print | head -1"
    path = os.pathsep.join([str(ROOT / "operator"), str(ROOT / "runtime")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
