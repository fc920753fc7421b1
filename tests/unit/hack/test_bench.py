"""``make bench`` shows what was measured, also when a suite can't run."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from hack.bench import bench
from hack.bench.figures import Figure


def test_a_suite_that_fails_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured() -> list[Figure]:
        return [Figure("rate", "60 objects/s", ">= 50", met=True)]

    def broken() -> list[Figure]:
        raise RuntimeError("no demo here")

    def load(name: str) -> Any:
        return SimpleNamespace(measure=measured if name.endswith("methods") else broken)

    monkeypatch.setattr(importlib, "import_module", load)
    monkeypatch.setattr(sys, "argv", ["bench", "scale", "methods"])
    assert bench.main() == 1
    said = capsys.readouterr()
    assert "| rate | 60 objects/s | >= 50 | yes |" in said.out
    assert "NOT MEASURED scale: RuntimeError: no demo here" in said.err


def test_an_unknown_suite_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "speed"])
    with pytest.raises(SystemExit):
        bench.main()
