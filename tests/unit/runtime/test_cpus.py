"""Threads follow the container's CPU limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway_runtime.cpus import cpu_limit, thread_count
from slipway_runtime.errors import RequestError


@pytest.mark.parametrize(
    ("text", "limit"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("broken", None)]
)
def test_cgroup_v2(tmp_path: Path, text: str, limit: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(("quota", "limit"), [("50000", 0.5), ("-1", None)])
def test_cgroup_v1(tmp_path: Path, quota: str, limit: float | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_limit(tmp_path) == limit


def test_the_environment_wins_then_the_limit_then_the_machine(tmp_path: Path) -> None:
    assert thread_count({}, tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("50000 100000")
    assert thread_count({}, tmp_path) == 1
    assert thread_count({"SLIPWAY_THREADS": "7"}, tmp_path) == 7


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="SLIPWAY_THREADS must be a whole number"):
        thread_count({"SLIPWAY_THREADS": "-1"}, tmp_path)
