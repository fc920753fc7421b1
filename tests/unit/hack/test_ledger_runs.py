"""Which steps the ledger shows: those of one call of make, also when several ran at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hack import ledger


def entry(run: str, step: str) -> ledger.Entry:
    return ledger.Entry(run, step, 0.0, 1.0, 0, "")


def test_runs_that_interleave_are_told_apart() -> None:
    entries = [entry("a", "1"), entry("b", "2"), entry("a", "3"), entry("b", "4")]
    assert [each.step for each in ledger.latest(entries, "a")] == ["1", "3"]
    assert [each.step for each in ledger.latest(entries)] == ["2", "4"]
    assert [each.step for each in ledger.latest(entries, "unknown")] == ["2", "4"]
    assert ledger.latest([], "a") == []


def test_a_failure_shows_what_the_run_did_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPWAY_RUN", "this")
    monkeypatch.setattr(ledger.signal, "signal", lambda *_: None)
    step = {"show": False, "hint": "try it", "state": tmp_path}
    ledger.record(tmp_path, entry("other", "not mine"))
    assert ledger.run("first", [sys.executable, "-c", ""], **step) == 0
    assert ledger.run("second", [sys.executable, "-c", "raise SystemExit(3)"], **step) == 3
    said = capsys.readouterr().err
    assert "first" in said
    assert "failed (3)" in said
    assert "not mine" not in said
