"""Two tries never write to one store at the same time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway_runtime import files
from slipway_runtime.errors import TransientError
from slipway_runtime.stage import run_stage

from .conftest import Bench, build_repository


def test_the_second_try_waits_for_its_turn(tmp_path: Path) -> None:
    with files.alone(tmp_path), pytest.raises(TransientError, match="still writes"), files.alone(tmp_path):
        pass
    with files.alone(tmp_path):
        assert list(tmp_path.iterdir()) == [], "the lock leaves nothing in the store"


def test_a_stage_that_finds_another_ends_as_transient(bench: Bench) -> None:
    build_repository(bench.parent / "published")
    with files.alone(bench.store):
        assert run_stage("convert", bench.environment) == 75
    result = json.loads(Path(bench.environment["SLIPWAY_TERMINATION_LOG"]).read_text())
    assert result["reason"] == "StoreInUse"
    assert run_stage("convert", bench.environment) == 0
