"""How many threads a tool should start: what the container may use, not what the machine has. For stages."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from slipway_runtime.job import parse_number


def thread_count(environment: Mapping[str, str], cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return SLIPWAY_THREADS if set, else the CPU limit rounded up, else the usable cores; at least 1."""
    asked = parse_number(environment, "SLIPWAY_THREADS", 0)
    usable = len(os.sched_getaffinity(0))
    if asked:
        return asked
    limit = cpu_limit(cgroup)
    return max(1, min(usable, math.ceil(limit)) if limit else usable)


def cpu_limit(cgroup: Path) -> float | None:
    """Return the cgroup's limit in cores (v2 ``cpu.max``, v1 CFS quota), None when there is none."""
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if quota in {"max", "-1"}:
        return None
    return int(quota) / int(period)
