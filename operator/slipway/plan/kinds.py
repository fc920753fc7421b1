"""Groups of nodes whose accelerators are alike; pure, called by decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slipway.api.modeldeployment import PodOverrides
from slipway.plan.candidate import Kind
from slipway.plan.facts import Gpu, NodeFacts
from slipway.plan.nodes import unsuitable


def kinds(nodes: Sequence[NodeFacts], overrides: PodOverrides | None) -> tuple[list[Kind], dict[str, str]]:
    """Kinds of accelerators on nodes that pods may use, in the order of their names; and why others are none.

    Args:
        nodes: ordered by name.
        overrides: the user's.
    """
    groups: dict[tuple[Gpu, str], list[NodeFacts]] = {}
    refusals: dict[str, str] = {}
    for node in nodes:
        for gpu in node.gpus:
            if refused := unsuitable(node, overrides, gpu.resource):
                refusals[node.name] = refused
            else:
                alike = replace(gpu, count=0, used=0)
                groups.setdefault((alike, node.architecture), []).append(node)
    found = [Kind(gpu, architecture, tuple(group)) for (gpu, architecture), group in groups.items()]
    found.sort(key=lambda kind: (kind.gpu.product, kind.gpu.resource, kind.gpu.memory, kind.architecture))
    return found, refusals
