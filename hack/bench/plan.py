"""One decision against many nodes: the planner alone, as the operator calls it, on nodes of eight kinds."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "runtime")]

from hack.bench.figures import Figure  # noqa: E402 - after the path

KINDS = ("h100", "l4", "t4", "m7i-4xlarge", "mi300x", "a100-80gb", "gaudi2", "raspberry-pi-4")
GOALS_MS = {100: 2.0, 5000: 50.0}
ROUNDS = 21


def measure() -> list[Figure]:
    """Median over the rounds; the nodes' facts are there, as the operator's cache has them."""
    return [_figure(count, goal) for count, goal in GOALS_MS.items()]


def _figure(count: int, goal: float) -> Figure:
    spent = statistics.median(_seconds(_nodes(count))) * 1000
    return Figure(f"plan of one object against {count} nodes, median of {ROUNDS}", f"{spent:.1f} ms",
                  f"<= {goal:.0f} ms", spent <= goal)  # fmt: skip


def _nodes(count: int) -> list[Any]:
    from slipway.plan.nodes import node_facts
    from tests.support.gpu_nodes import gpu_node

    return [node_facts(gpu_node(KINDS[index % len(KINDS)], f"n{index:05}")) for index in range(count)]


def _seconds(nodes: list[Any]) -> list[float]:
    from slipway.engines import decide
    from slipway.settings import Settings
    from tests.support.planning import MODELS, spec

    wish, facts, settings, spent = spec(), MODELS["llama3-8b"], Settings(), []
    for _ in range(ROUNDS):
        gc.collect()
        start = time.perf_counter()
        decide(wish, facts, nodes, settings)
        spent.append(time.perf_counter() - start)
    return spent
