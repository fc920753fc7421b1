"""The bootstrap's decisions, its functions called one by one: what it installs, what it trusts, who waits."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

from hack.cluster import tools

ROOT = Path(__file__).resolve().parents[3]
# Steps are named and run without the ledger; nothing of the machine's apt is touched.
SOURCED = """
source {root}/hack/bootstrap.sh
step() {{ echo "step: $1"; shift; "$@"; }}
forbid_starts() {{ :; }}
allow_starts() {{ :; }}
cd {folder}
"""


def start(folder: Path, script: str) -> subprocess.Popen[str]:
    """Start a script that knows the bootstrap's functions; programs of folder/bin come first on its PATH."""
    environment = {
        **os.environ,
        "PATH": f"{folder}/bin:/usr/bin:/bin",
        "SLIPWAY_CACHE": str(folder / "cache"),
    }
    line = ["bash", "-c", SOURCED.format(root=ROOT, folder=folder) + script]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env=environment)


def call(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run such a script to its end."""
    with start(folder, script) as child:
        said, errors = child.communicate(timeout=60)
        return subprocess.CompletedProcess(child.args, child.returncode, said, errors)


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_missing_python_is_installed_with_its_venv(tmp_path: Path) -> None:
    program(tmp_path, "bin/dpkg-query", "exit 1")
    program(tmp_path, "bin/id", "echo 0")
    program(tmp_path, "bin/apt-get", 'echo "apt-get $*"')
    done = call(tmp_path, "python_fits() { return 1; }\nensure_python")
    assert done.returncode == 0, done.stderr
    common = "apt-get -o DPkg::Lock::Timeout=300"
    assert f"{common} update -q\n" in done.stdout
    assert f"{common} install -y --no-remove --no-install-recommends python3 python3-venv\n" in done.stdout


def test_before_python_is_there_the_ledger_is_not_asked(tmp_path: Path) -> None:
    program(tmp_path, "bin/python3", "exit 1")
    program(tmp_path, "bin/apt-get", 'echo "apt-get $*"')
    done = call(tmp_path, "apt_step 'apt update' update")
    assert done.stdout == "▸ apt update\napt-get -o DPkg::Lock::Timeout=300 update\n"


def test_without_root_the_packages_are_named(tmp_path: Path) -> None:
    program(tmp_path, "bin/dpkg-query", "exit 1")
    program(tmp_path, "bin/id", "echo 1000")
    done = call(tmp_path, "python_fits() { return 1; }\nensure_python")
    assert done.returncode == 1
    assert "apt-get install python3 python3-venv" in done.stderr
    assert "any other Python 3.11" in done.stderr


def test_any_python_that_makes_environments_is_enough(tmp_path: Path) -> None:
    program(tmp_path, "bin/python3", "exit 0")
    program(tmp_path, "bin/dpkg-query", "echo asked; exit 1")
    done = call(tmp_path, "ensure_python; find_python")
    assert done.stdout == "python3\n"


def test_a_python_without_ensurepip_does_not_fit(tmp_path: Path) -> None:
    program(tmp_path, "bin/python3", 'case "$2" in *ensurepip*) exit 1;; esac')
    assert call(tmp_path, "python_fits python3").returncode == 1


def test_dockers_runc_is_as_good_as_debians(tmp_path: Path) -> None:
    program(tmp_path, "bin/dpkg-query", "exit 1")
    program(tmp_path, "bin/runc", "")
    assert call(tmp_path, "missing_packages runc zstd").stdout == "zstd\n"


def test_packages_that_do_not_fit_lead_elsewhere(tmp_path: Path) -> None:
    program(tmp_path, "bin/dpkg-query", "exit 1")
    program(tmp_path, "bin/id", "echo 0")
    program(tmp_path, "bin/apt-get", 'case "$*" in *install*) exit 100;; esac')
    done = call(tmp_path, "install_packages buildah")
    assert done.returncode == 1
    assert "nothing is removed" in done.stderr
    assert "make demo CONTEXT=name" in done.stderr


def half_made(folder: Path, pip: int) -> None:
    """A virtual environment whose Python runs and whose pip ends so; what it needs beside it."""
    program(folder, ".venv/bin/python", f'case "$*" in "-m pip --version") exit {pip};; esac')
    program(folder, ".venv/bin/uv", "")
    program(folder, "bin/python3", 'echo "made: $*"')
    for name in ("requirements", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)


def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    half_made(tmp_path, pip=1)
    done = call(tmp_path, "pip_settings_for_uv() { :; }\nmake_venv python3")
    assert "step: empty Python environment\nmade: -m venv --clear .venv\n" in done.stdout
    assert (tmp_path / ".venv/.slipway-stamp").exists(), done.stderr


def test_a_whole_environment_is_kept_and_then_not_looked_at(tmp_path: Path) -> None:
    half_made(tmp_path, pip=0)
    done = call(tmp_path, "pip_settings_for_uv() { :; }\nmake_venv python3\necho again\nmake_venv python3")
    assert "made:" not in done.stdout
    assert done.stdout.endswith("step: Slipway in it\nagain\n"), done.stdout + done.stderr


def test_a_half_installed_go_is_not_found(tmp_path: Path) -> None:
    program(tmp_path, "bin/python3", "exit 1")
    program(tmp_path, ".venv/bin/uv", 'while [ "$1" != --target ]; do shift; done; echo "staged: $2"')
    (tmp_path / "hack").symlink_to(ROOT / "hack")
    done = call(tmp_path, "pip_settings_for_uv() { :; }\ninstall_go")
    staged = Path(done.stdout.partition("staged: ")[2].splitlines()[0])
    cache = tmp_path / "cache"
    assert staged.is_relative_to(cache)
    (staged / "go/bin").mkdir(parents=True)
    (staged / "go/bin/go").touch()
    assert list(cache.glob(tools.GO_INSTALLED)) == []


def test_a_second_bootstrap_waits_for_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "cache/bootstrap.lock"
    lock.parent.mkdir()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = start(tmp_path, "alone\necho inside")
        assert second.stdout
        assert second.stdout.readline() == "▸ waiting for another bootstrap on this machine\n"
    assert second.communicate(timeout=60)[0] == "inside\n"
    assert call(tmp_path, "alone\necho inside").stdout == "inside\n"
