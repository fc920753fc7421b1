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
PATHS = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), str(ROOT / "runtime")])}


def test_every_file_is_a_command() -> None:
    files = {path.stem for path in Path(str(slipway.cli.__file__)).parent.glob("[!_]*.py")}
    commands = {command.name for command in read_commands(build_parser())}
    assert commands == files
    assert {"check", "completion", "crd", "version"} <= commands


COMMANDS = [command.name for command in read_commands(build_parser())]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_examples_and_exit_codes_and_fits_a_terminal(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"slipway {command}" in text.partition("\nexamples:\n")[2]
    assert "exit codes:\n  0  " in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_every_command_is_explained_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 0
    listed = capsys.readouterr().out.partition("commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == COMMANDS
    assert len({len(line) - len(line.split(maxsplit=1)[1]) for line in listed}) == 1  # one column


def test_help_is_quick() -> None:
    # A shell's completion and an impatient reader wait for it: no API models, no HTTP client.
    code = "import sys; from slipway.cli import build_parser; build_parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=PATHS)
    assert {"pydantic", "aiohttp", "kopf", "kubernetes"} & set(done.stdout.split()) == set()


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
        ("slipway completion ''", {"bash", "zsh", "fish"}),
        ("slipway check -o ''", {"text", "json"}),
        ("slipway plan m.yaml --output j", {"json"}),
        ("slipway plan --nodes ''", set()),  # then bash offers file names
        ("slipway check ''", set()),
        ("slipway version -", {"-h", "--help"}),
    ],
)
def test_bash_completes(words: str, wanted: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    line = " ".join(f"'{word}'" if word != "''" else word for word in words.split())
    last = len(words.split()) - 1
    probe = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={last}; _slipway; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_its_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_fish_completes(capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("no fish here")
    assert main(["completion", "fish"]) == 0
    script = capsys.readouterr().out
    for line, wanted in {
        "slipway che": {"check", "checklist"},
        "slipway check -o ": {"text", "json"},
        "slipway completion ": {"bash", "zsh", "fish"},
        "slipway version ": set(),
    }.items():
        probe = f"{script}\ncomplete -C '{line}'"
        done = subprocess.run(["fish", "-N", "-c", probe], capture_output=True, text=True, check=True)
        assert {found.split("\t")[0] for found in done.stdout.splitlines()} == wanted


def test_a_port_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--port", "99999"])
    assert stop.value.code == 2
    assert "'99999' is no port" in capsys.readouterr().err


def test_run_without_a_cluster_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("slipway.logging_.setup", lambda *_: None)
    assert main(["run", "--kubeconfig", str(tmp_path / "absent")]) == 1
    assert capsys.readouterr().err.startswith("slipway run: no Kubernetes API to talk to: ")
    monkeypatch.setenv("SLIPWAY_SCRAPERS", "[1]")
    assert main(["run", "--kubeconfig", str(tmp_path / "absent")]) == 2
    assert "SLIPWAY_SCRAPERS=[1] of the environment can't be read" in capsys.readouterr().err


def test_closed_standard_output_is_no_error() -> None:
    command = f"{sys.executable} -m slipway version >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=PATHS)
    assert (done.returncode, done.stderr) == (0, "")


def test_reader_that_stops_reading_is_no_error() -> None:
    command = f"set -o pipefail; {sys.executable} -m slipway crd --print | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=PATHS)
    assert (done.returncode, done.stderr) == (0, "")
