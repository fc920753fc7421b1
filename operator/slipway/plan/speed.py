"""What a token costs at best, by the bandwidth of the memory that is read. Pure; called by on_gpu, offload.

It orders plans, and promises nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from slipway.plan.decision import Parallel
from slipway.plan.facts import Gpu, NodeFacts
from slipway.plan.gpus import bandwidth

EFFICIENCY: Final = 0.6
"""Part of the data sheet's bandwidth that decoding reaches. Orders plans; no promise."""


def speed_bound(gpu: Gpu, parallel: Parallel, weights: int, active: float) -> float:
    """Least seconds for a token of one request: every active weight is read once, one stage after another."""
    read = weights * (active or 1.0) / parallel.tensor
    return read / (bandwidth(gpu) * 1e9 * EFFICIENCY)


def price(nodes: Sequence[NodeFacts], gpu: Gpu, parallel: Parallel, tokens_a_second: float) -> float | None:
    """Currency for a million tokens at full load, by the bandwidth bound; None when no node has a price.

    A replica pays for its devices' part of each of its nodes.
    """
    shares = [
        node.price / max(one.count for one in node.gpus if one.resource == gpu.resource)
        for node in nodes
        if node.price is not None
    ]
    return min(shares) * parallel.devices / (tokens_a_second * 3600) * 1e6 if shares else None
