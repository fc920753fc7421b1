"""Which nodes a plan's pods keep to, and how many replicas those hold together; pure, called by decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.plan.facts import NodeFacts
from slipway.plan.fitting import HostNeed, held

HOSTNAME = "kubernetes.io/hostname"
PREFERRED = (
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "gpu.intel.com/product",
    "kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
)
"""Labels that a replaced node has again; they come before others that say the same."""


def largest(nodes: Sequence[NodeFacts]) -> NodeFacts:
    """The node with most memory, then most cores."""
    return max(nodes, key=lambda node: (node.memory, node.cpu, node.name))


def node_selector(fitting: Sequence[NodeFacts], usable: Sequence[NodeFacts]) -> tuple[tuple[str, str], ...]:
    """Labels that keep pods off nodes that are too small: Jobs bind the volume before the engine runs.

    Empty when every usable node fits; else the label that most of those that fit have and no other has
    (architecture and machine type before others, then by name). A node's own name is the last resort: the
    next node has another, and a model that is pinned to the old one waits until it is planned anew.
    """
    if len(fitting) == len(usable):
        return ()
    names = {node.name for node in fitting}
    foreign = {label for node in usable if node.name not in names for label in node.labels}
    found = Counter(
        label
        for node in fitting
        for label in node.labels
        if label not in foreign and label[0] != HOSTNAME and label[1] not in names
    )
    if found:
        return (min(found, key=lambda label: (-found[label], _rank(label[0]), label)),)
    chosen = largest(fitting)
    return ((HOSTNAME, dict(chosen.labels).get(HOSTNAME, chosen.name)),)


def _rank(key: str) -> int:
    return PREFERRED.index(key) if key in PREFERRED else len(PREFERRED)


def replicas_held(spec: ModelDeploymentSpec, fitting: Sequence[NodeFacts], need: HostNeed) -> int:
    """How many pods run at once, by memory, requested CPU and devices of otherwise empty nodes.

    A ReadWriteOnce volume keeps all replicas on one node, and which one is not known when it is planned: the
    smallest that fits counts. A ReadWriteMany volume lets them spread: all count.

    Args:
        spec: says what the volume is.
        fitting: nodes that hold at least one.
        need: of one pod.
    """
    counts = [held(node, need) for node in fitting]
    return sum(counts) if spreads(spec) else min(counts)


def least_replicas(spec: ModelDeploymentSpec) -> int:
    """Replicas at any time: a rollout that waits at the autoscaler's most goes on when it asks for less."""
    if spec.autoscaling is not None:
        return spec.autoscaling.min_replicas or 1
    return spec.replicas


def spreads(spec: ModelDeploymentSpec) -> bool:
    """Whether replicas on several nodes can read the same volume."""
    return spec.shares_store
