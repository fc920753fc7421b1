"""Nodes that are alike, counted once; and kinds of accelerators over them. Pure, called by decide.

A cluster of thousands of nodes has a handful of machine types: what is decided for one of each holds for all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from slipway.api.modeldeployment import PodOverrides
from slipway.plan.candidate import Kind
from slipway.plan.facts import Gpu, NodeFacts
from slipway.plan.nodes import unsuitable


@dataclass(frozen=True)
class Alike:
    """Nodes by one that stands for them.

    Attributes:
        nodes: one of each; its ``most`` is the sum.
        members: name of that one to all that it stands for.
    """

    nodes: tuple[NodeFacts, ...]
    members: Mapping[str, tuple[NodeFacts, ...]]

    def expand(self, nodes: Iterable[NodeFacts]) -> tuple[NodeFacts, ...]:
        """All nodes that these stand for, by name."""
        return tuple(
            sorted((one for node in nodes for one in self.members[node.name]), key=lambda one: one.name)
        )


def alike(nodes: Iterable[NodeFacts], *, devices: bool) -> Alike:
    """Nodes grouped by what a pod needs of them; accelerators count only when ``devices``."""
    groups: dict[Hashable, list[NodeFacts]] = {}
    for node in nodes:
        shape = (node.architecture, node.cpu, node.memory, node.price, node.planned, devices and node.gpus)
        groups.setdefault(shape, []).append(node)
    members = {group[0].name: tuple(group) for group in groups.values()}
    firsts = (replace(group[0], most=sum(one.most for one in group)) for group in groups.values())
    return Alike(tuple(firsts), members)


def suitability(overrides: PodOverrides | None) -> Callable[[NodeFacts, str], str]:
    """``nodes.unsuitable``, asked once for nodes that it can't tell apart."""
    known: dict[Hashable, str] = {}
    wanted = tuple(sorted((overrides.node_selector if overrides else None) or {}))

    def why(node: NodeFacts, resource: str = "") -> str:
        labels = dict(node.labels) if wanted else {}
        selected = tuple(labels.get(key) for key in wanted)
        question = (node.ready, node.os, node.architecture, node.taints, resource, selected)
        if question not in known:
            known[question] = unsuitable(node, overrides, resource)
        return known[question]

    return why


def kinds(
    nodes: Sequence[NodeFacts], why: Callable[[NodeFacts, str], str]
) -> tuple[list[Kind], Mapping[str, tuple[NodeFacts, ...]], dict[str, str]]:
    """Kinds of accelerators on nodes that pods may use, by product; all their nodes; and why others are none.

    Args:
        nodes: ordered by name.
        why: see ``suitability``.

    Returns:
        Kinds, whose nodes stand for others; the name of each such node to all of them; node to refusal.
    """
    groups: dict[Hashable, tuple[Gpu, list[NodeFacts]]] = {}
    refusals: dict[str, str] = {}
    for node in nodes:
        for gpu in node.gpus:
            if refused := why(node, gpu.resource):
                refusals[node.name] = refused
                continue
            device = (gpu.resource, gpu.product, gpu.memory, gpu.compute, gpu.sharing, gpu.shares)
            groups.setdefault((*device, node.architecture), (gpu, []))[1].append(node)
    found: list[Kind] = []
    members: dict[str, tuple[NodeFacts, ...]] = {}
    for gpu, group in groups.values():
        same = alike(group, devices=True)
        members.update(same.members)
        found.append(Kind(replace(gpu, count=0, used=0), group[0].architecture, same.nodes))
    found.sort(key=lambda kind: (kind.gpu.product, kind.gpu.resource, kind.gpu.memory, kind.architecture))
    return found, members, refusals
