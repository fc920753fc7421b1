"""Whether a node holds a pod: memory, CPU, devices. Pure; called by on_cpu, on_gpu and capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slipway.plan.facts import NodeFacts
from slipway.plan.quantities import MIB

NODE_RESERVE: Final = 256 * MIB
"""Left to the pods that run on every node (network plugin, kube-proxy, log shipper). Judged, not measured."""


@dataclass(frozen=True)
class HostNeed:
    """What one pod requests of a node.

    Attributes:
        memory: bytes.
        resource: of the devices; empty for none.
        devices: how many.
    """

    memory: int
    cpu_millis: int
    resource: str = ""
    devices: int = 0


def host_fits(node: NodeFacts, need: HostNeed) -> bool:
    """Whether the node, otherwise empty, has room for one such pod."""
    return (
        node.memory - NODE_RESERVE >= need.memory
        and node.cpu * 1000 >= need.cpu_millis
        and (not need.devices or _devices(node, need.resource) >= need.devices)
    )


def held(node: NodeFacts, need: HostNeed) -> int:
    """How many such pods the node, otherwise empty, holds."""
    counts = [(node.memory - NODE_RESERVE) // need.memory, int(node.cpu * 1000) // need.cpu_millis]
    if need.devices:
        counts.append(_devices(node, need.resource) // need.devices)
    return node.most * min(counts)


def devices_free(node: NodeFacts, resource: str) -> int:
    """Devices that no other pod has now."""
    return sum(gpu.count - gpu.used for gpu in node.gpus if gpu.resource == resource)


def _devices(node: NodeFacts, resource: str) -> int:
    return sum(gpu.count for gpu in node.gpus if gpu.resource == resource)
