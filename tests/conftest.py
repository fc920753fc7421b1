"""What all rooms share: how Hypothesis runs, and which tests this machine can't run.

The latter are skipped, unless SLIPWAY_VERIFY names them: see docs/unverified.md.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

ASKED_FOR = {name.strip() for name in os.environ.get("SLIPWAY_VERIFY", "").split(",")}
ALONE = "alone: holds the operator to a bound in seconds, so that nothing else may run beside it"

# A busy machine is no counterexample: what an example computes counts, not how long it took.
settings.register_profile("slipway", deadline=None)
settings.load_profile("slipway")


def pytest_configure(config: pytest.Config) -> None:
    """Make our marker known."""
    config.addinivalue_line("markers", ALONE)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``-n 4`` hands the tests out one by one."""
    from tests.support.scheduling import OneByOne

    return OneByOne(config, log) if config.getoption("dist") == "load" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``unverified(name)`` and not asked for."""
    for item in items:
        for mark in item.iter_markers("unverified"):
            name = mark.args[0]
            if name not in ASKED_FOR:
                item.add_marker(pytest.mark.skip(reason=f"unverified here: SLIPWAY_VERIFY='{name}' runs it"))
