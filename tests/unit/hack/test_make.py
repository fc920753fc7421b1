"""What make hands to every command: where traffic goes without a proxy, one run for the ledger."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OURS = "198.18.0.1,198.18.0.0/15"


def planned(*targets: str) -> list[str]:
    """What make would do; no make below it does anything either."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    # The ledger plays along, and its entries are nobody's.
    line = ["make", "-n", *targets, "LEDGER=echo"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True, env=kept)
    return done.stdout.splitlines()


def position(lines: list[str], part: str) -> int:
    """Where the first line with that part is; ValueError without one."""
    return next(number for number, line in enumerate(lines) if part in line)


def make(assignment: str, **environment: str) -> str:
    """The value that a command of the Makefile sees in its environment."""
    kept = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"}
    kept = {key: value for key, value in kept.items() if not key.startswith(("MAKE", "MFLAGS", "SLIPWAY_"))}
    command = ["make", "-s", "--eval", f"probe: ; @echo $${assignment}", "probe"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env=kept | environment
    )
    return done.stdout.strip()


def test_the_node_goes_past_the_proxy_by_its_address() -> None:
    assert make("NO_PROXY").startswith(OURS)
    assert make("no_proxy") == make("NO_PROXY")


def test_the_machines_own_exceptions_stay() -> None:
    assert make("NO_PROXY", NO_PROXY="upper.example").startswith(f"upper.example,{OURS}")
    assert make("NO_PROXY", no_proxy="lower.example").startswith(f"lower.example,{OURS}")
    assert make("no_proxy", no_proxy="lower.example").startswith(f"lower.example,{OURS}")


def test_a_make_below_another_adds_nothing() -> None:
    once = make("NO_PROXY", NO_PROXY="a.example")
    assert make("NO_PROXY", NO_PROXY=once) == once


def test_a_call_of_make_is_one_run_of_the_ledger() -> None:
    run = make("SLIPWAY_RUN")
    assert run
    assert make("SLIPWAY_RUN", SLIPWAY_RUN=run) == run


@pytest.mark.parametrize("target", ["cluster-down", "cluster-status", "cluster-doctor"])
def test_the_clusters_commands_have_their_python(target: str) -> None:
    lines = planned(target)
    assert position(lines, "bootstrap.sh python") < position(lines, "hack/cluster/cluster.py")


@pytest.mark.parametrize("target", ["demo", "test", "test-cluster"])
def test_what_stops_the_cluster_is_looked_for_before_anything_is_built(target: str) -> None:
    lines = planned(target)
    looked = position(lines, "cluster.py preflight")
    assert position(lines, "bootstrap.sh cluster") < looked < position(lines, '"cluster tools"')


def test_the_tests_of_the_cluster_bring_what_they_need() -> None:
    lines = planned("test-cluster")
    wanted = ("tools tools-test", '"images"', "cluster-test", "demo/install.py", "pytest")
    places = [position(lines, part) for part in wanted]
    assert places == sorted(places)


def test_the_api_server_is_built_before_its_tests() -> None:
    lines = planned("test-api")
    assert position(lines, '"cluster tools"') < position(lines, "pytest")
