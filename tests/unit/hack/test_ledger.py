"""The ledger: what a step prints, keeps and returns."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hack import ledger

LEDGER = Path(ledger.__file__)


def steps(state: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((state / "ledger.json").read_text())
    return found


def test_a_step_is_recorded_with_its_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger.run("Build it", ["sh", "-c", "echo hello"], show=False, hint="", state=tmp_path) == 0
    (row,) = steps(tmp_path)
    assert (row["step"], row["code"]) == ("Build it", 0)
    assert (tmp_path / "log/steps/build-it.log").read_text() == "hello\n"
    said = capsys.readouterr().out
    assert "✓ Build it" in said
    assert "hello" not in said


def test_a_failed_step_names_itself_its_log_and_what_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sh", "-c", "echo broken wheel; exit 7"]
    assert ledger.run("wheels", command, show=False, hint="turn it round", state=tmp_path) == 7
    said = capsys.readouterr().err
    for part in ("FAILED: wheels", "exit 7", "broken wheel", "log/steps/wheels.log", "turn it round"):
        assert part in said
    assert steps(tmp_path)[0]["code"] == 7


def test_a_missing_program_is_a_failed_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger.run("gone", ["no-such-program"], show=False, hint="", state=tmp_path) == 127
    assert "no-such-program" in capsys.readouterr().err


def test_a_killed_step_gives_the_shells_status(tmp_path: Path) -> None:
    assert ledger.run("killed", ["sh", "-c", "kill -9 $$"], show=False, hint="", state=tmp_path) == 137


def test_a_shown_step_passes_its_output_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.run("loud", ["sh", "-c", "echo hello"], show=True, hint="", state=tmp_path)
    assert "hello\n" in capsys.readouterr().out


def test_a_silent_step_shows_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ledger, "HEARTBEAT_S", 0.1)
    command = ["sh", "-c", "printf 'half done\\r'; sleep 0.7"]
    ledger.run("slow", command, show=False, hint="", state=tmp_path)
    assert re.search(r"… slow: \d+ s  half done", capsys.readouterr().out)


def test_a_daemon_that_a_step_leaves_does_not_hold_it(tmp_path: Path) -> None:
    started = time.monotonic()
    ledger.run("daemon", ["sh", "-c", "sleep 5 & echo $!"], show=False, hint="", state=tmp_path)
    assert time.monotonic() - started < 4
    os.kill(int((tmp_path / "log/steps/daemon.log").read_text()), signal.SIGTERM)


def test_a_step_that_runs_twice_at_once_has_two_logs(tmp_path: Path) -> None:
    with ledger.reserved(tmp_path, "Build it") as (first, _):
        first.write_text("of the first\n")
        with ledger.reserved(tmp_path, "Build it") as (second, _):
            assert second == tmp_path / f"build-it-{os.getpid()}.log"
        assert first.read_text() == "of the first\n"
    with ledger.reserved(tmp_path, "Build it") as (again, _):
        assert again == first == tmp_path / "build-it.log"


def test_the_table_shows_the_last_run_and_its_sum() -> None:
    rows = [
        ledger.Entry("1", "old", 0, 50, 0, "a.log"),
        ledger.Entry("2", "build", 0, 1.5, 0, "b.log"),
        ledger.Entry("2", "start", 0, 2, 4, "c.log"),
    ]
    shown = ledger.table(ledger.latest(rows))
    assert "old" not in shown
    assert "failed (4): c.log" in shown
    assert shown.splitlines()[-1].split() == ["total", "3.5"]
    assert ledger.table([]) == "no steps recorded yet"


def test_a_broken_ledger_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text("{half")
    assert ledger.load(tmp_path) == []
    ledger.record(tmp_path, ledger.Entry("1", "again", 0, 1, 0, "x"))
    assert [row["step"] for row in steps(tmp_path)] == ["again"]


def test_parallel_steps_are_all_kept(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import ledger\n"
        "for i in range(5): ledger.record(Path(sys.argv[2]), ledger.Entry('1', str(i), 0, 0, 0, ''))"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(LEDGER.parent), str(tmp_path)]) for _ in range(4)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    assert len(steps(tmp_path)) == 20


def test_the_command_line_wants_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ledger.parse(["run", "nothing"])
    assert "nothing to run" in capsys.readouterr().err
    assert ledger.parse(["run", "x", "--", "a", "--b"]).command == ["a", "--b"]


def test_the_ledger_needs_only_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LEDGER), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
