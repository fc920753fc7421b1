"""Ways to spread one replica over devices: tensor, pipeline, data parallel, several nodes. For on_gpu."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slipway.plan.candidate import Kind, Request
from slipway.plan.decision import Parallel
from slipway.plan.facts import EngineFacts, NodeFacts
from slipway.plan.wishes import divides

MOST_PODS: Final = 16
"""Nodes of one replica at most: beyond, a failure of any of them is the rule. Judged."""


def spreads(request: Request, kind: Kind, engine: EngineFacts) -> Iterator[Parallel]:
    """Ways to spread one replica over the devices of this kind, the fewest devices first.

    Within a node: tensor parallel, then pipeline parallel where heads don't divide. Then nodes, each a stage
    of the pipeline, with as many tensor parallel devices as it has. Slices and shares stay alone: they have
    no direct way to each other, and two shares may be one device.
    """
    wishes, facts = request.wishes, request.facts
    most = max(_devices(node, kind) for node in kind.nodes) if not kind.gpu.sharing else 1
    largest = most if "tensor-parallel" in engine.capabilities else 1
    # A draft is spread like its model: engines share its layers too, and give no stage of a pipeline a part.
    models = [facts, *(one.facts for one in request.companions if one.facts)]
    sizes = (size for size in range(1, largest + 1) if all(divides(size, one) for one in models))
    tensors = [size for size in sizes if wishes.tensor in (None, size)]
    pipelines = "pipeline-parallel" in engine.capabilities and wishes.guesses not in engine.unstaged
    if wishes.data > 1 and "data-parallel" not in engine.capabilities:
        return
    for size in tensors:
        if wishes.pipeline in (None, 1) and size * wishes.data <= most:
            yield Parallel(size, 1, wishes.data)
    if not tensors or not pipelines:
        return
    staged = [
        Parallel(size, stages, wishes.data)
        for size in tensors
        for stages in range(2, min(most // (size * wishes.data), facts.layers) + 1)
        if wishes.pipeline in (None, stages)
    ]
    yield from sorted(staged, key=lambda one: (one.devices, -one.tensor))
    if not request.one_node and "multi-node" in engine.capabilities:
        yield from _across(request, kind, tensors[-1])


def _across(request: Request, kind: Kind, tensor: int) -> Iterator[Parallel]:
    """Over several nodes, ``tensor`` devices of each."""
    if kind.gpu.sharing or request.wishes.data > 1:
        return
    there = min(MOST_PODS, sum(node.most for node in kind.nodes if _devices(node, kind) >= tensor))
    for pods in range(2, there + 1):
        if request.wishes.pipeline in (None, pods) and pods <= request.facts.layers:
            yield Parallel(tensor, pods, 1, pods)


def _devices(node: NodeFacts, kind: Kind) -> int:
    return next((gpu.count for gpu in node.gpus if gpu.resource == kind.gpu.resource), 0)
