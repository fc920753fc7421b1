"""What make hands to every command: where traffic goes without a proxy, one run for the ledger."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OURS = "198.18.0.1,198.18.0.0/15"


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
