"""Devices that pods have now, by node; pure, called by the command line and observe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from slipway.plan.facts import NodeFacts
from slipway.plan.quantities import quantity

ENDED: Final = frozenset({"Succeeded", "Failed"})
Used = Mapping[str, Mapping[str, int]]
"""Node to extended resource to how many of it pods have."""


def devices_used(
    pods: Iterable[Mapping[str, Any]], own: Callable[[Mapping[str, Any]], bool] = lambda _: False
) -> Used:
    """Devices that pods on nodes have; those that ended have none.

    Args:
        pods: as the API server returns them; spec.nodeName and the containers' resources are read.
        own: whether a pod makes room for what is planned, and so doesn't count; given its metadata.
    """
    found: dict[str, Counter[str]] = {}
    for pod in pods:
        spec = pod.get("spec") or {}
        node, ended = spec.get("nodeName"), (pod.get("status") or {}).get("phase") in ENDED
        if not node or ended or own(pod.get("metadata") or {}):
            continue
        found.setdefault(node, Counter()).update(_devices(spec))
    return found


def _devices(spec: Mapping[str, Any]) -> Counter[str]:
    """Extended resources of a pod: what its containers have together; init containers come before them."""
    together: Counter[str] = Counter()
    for container in spec.get("containers") or ():
        together.update(_of(container))
    for container in spec.get("initContainers") or ():
        together |= _of(container)
    return together


def _of(container: Mapping[str, Any]) -> Counter[str]:
    limits = (container.get("resources") or {}).get("limits") or {}
    return Counter({name: int(quantity(amount)) for name, amount in limits.items() if "/" in name})


def with_usage(nodes: Sequence[NodeFacts], used: Used) -> list[NodeFacts]:
    """The nodes, their accelerators with what is used of them."""
    return [
        replace(
            node, gpus=tuple(replace(gpu, used=used[node.name].get(gpu.resource, 0)) for gpu in node.gpus)
        )
        if node.gpus and node.name in used
        else node
        for node in nodes
    ]
