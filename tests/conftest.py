"""Tests that this machine can't run are skipped, unless SLIPWAY_VERIFY names them: see docs/unverified.md."""

from __future__ import annotations

import os

import pytest

ASKED_FOR = {name.strip() for name in os.environ.get("SLIPWAY_VERIFY", "").split(",")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``unverified(name)`` and not asked for."""
    for item in items:
        for mark in item.iter_markers("unverified"):
            name = mark.args[0]
            if name not in ASKED_FOR:
                item.add_marker(pytest.mark.skip(reason=f"unverified here: SLIPWAY_VERIFY='{name}' runs it"))
