"""Node pools of the installation: prices of nodes that exist, nodes that an autoscaler would add. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slipway.plan.facts import NodeFacts
from slipway.plan.gpus import MIG_PREFIX
from slipway.plan.nodes import ARCH_LABEL, OS, OS_LABEL, node_facts
from slipway.plan.quantities import GIB, MIB, quantity
from slipway.settings import NodePool


def with_pools(nodes: Sequence[NodeFacts], pools: Sequence[NodePool]) -> list[NodeFacts]:
    """All nodes, with the prices of their pools, and one more for each pool that may still grow.

    A node is of the first pool whose labels it has. Cordoned and broken ones count too: they are there.
    """
    if not pools:
        return list(nodes)
    counts = dict.fromkeys((pool.name for pool in pools), 0)
    found = []
    for node in nodes:
        pool = pool_of(node, pools)
        if pool is not None:
            counts[pool.name] += 1
        found.append(replace(node, price=pool.price) if pool and pool.price is not None else node)
    grown = (future_node(pool, pool.most - counts[pool.name]) for pool in pools)
    return [*found, *(node for node in grown if node.most > 0)]


def pool_of(node: NodeFacts, pools: Sequence[NodePool]) -> NodePool | None:
    """The pool that this node is of; one without labels has none."""
    labels = set(node.labels)
    return next((pool for pool in pools if pool.labels and labels.issuperset(pool.labels)), None)


def future_node(pool: NodePool, most: int) -> NodeFacts:
    """A node that the pool would add, as it will be once device plugin and feature discovery have seen it."""
    labels = {ARCH_LABEL: pool.architecture, OS_LABEL: OS, **_device_labels(pool), **dict(pool.labels)}
    raw = {
        "metadata": {"name": f"pool {pool.name}", "labels": labels},
        "status": {
            "allocatable": {
                "cpu": pool.cpu,
                "memory": pool.memory,
                "ephemeral-storage": 100 * GIB,
                **dict(pool.gpus),
            },
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    facts = node_facts(raw)
    gpus = tuple(
        replace(
            gpu, memory=gpu.memory or int(quantity(pool.gpu_memory)), product=gpu.product or pool.gpu_product
        )
        for gpu in facts.gpus
    )
    # What only feature discovery would add is no label to select by: the autoscaler does not know it.
    own = tuple(sorted({ARCH_LABEL: pool.architecture, OS_LABEL: OS, **dict(pool.labels)}.items()))
    return replace(
        facts, gpus=gpus, labels=own, taints=pool.taints, price=pool.price, most=most, planned=True
    )


def _device_labels(pool: NodePool) -> dict[str, str]:
    """Labels by which NVIDIA's devices are read; others are known by product."""
    prefixes = [
        name if name.startswith(MIG_PREFIX) else "nvidia.com/gpu"
        for name, _ in pool.gpus
        if name.startswith("nvidia.com/")
    ]
    memory = int(quantity(pool.gpu_memory)) // MIB
    return {
        f"{prefix}.{what}": value
        for prefix in prefixes
        for what, value in (("product", pool.gpu_product), ("memory", str(memory) if memory else ""))
        if value
    }
