"""Finds helm and runs it on the chart, without building anything. For the chart's tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import tools

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/slipway"
NAMESPACE = "slipway-system"


@cache
def find_helm() -> str:
    """Path of helm: SLIPWAY_HELM (it must exist), the local cluster's, the cache, PATH; else skips.

    Never skips where CI is set: a run that counts has to show the chart's tests.
    """
    if named := os.environ.get("SLIPWAY_HELM"):
        assert Path(named).exists(), f"SLIPWAY_HELM names {named}, which is not there"
        return named
    candidates = [ROOT / ".cluster/bin/helm"]
    with suppress(tools.BuildError):  # no Go here: then nothing was built by it either
        candidates.append(tools.locate(["helm"], tools.go()[1])["helm"])
    found = next((str(path) for path in candidates if path.exists()), None) or shutil.which("helm")
    if not found:
        words = "no helm here: 'make tools' builds it, or name yours in SLIPWAY_HELM"
        assert not os.environ.get("CI"), words
        pytest.skip(words)
    return found


def helm(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run helm; returns exit code, stdout and stderr."""
    done = subprocess.run([find_helm(), *args], capture_output=True, text=True, check=False, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def render(*args: str, release: str = "slipway") -> list[dict[str, Any]]:
    """Objects of the chart with these options of ``helm template``."""
    text = helm("template", release, str(CHART), "--namespace", NAMESPACE, *args).stdout
    return [obj for obj in yaml.safe_load_all(text) if obj]


def find(objects: list[dict[str, Any]], kind: str, name: str = "slipway") -> dict[str, Any]:
    """The one object of this kind and name."""
    (found,) = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found
