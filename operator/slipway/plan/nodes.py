"""Facts from Node objects, and which nodes pods may use; called by observe, decide and ``slipway plan``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.modeldeployment import PodOverrides, Toleration
from slipway.plan.facts import Gpu, NodeFacts
from slipway.plan.quantities import MIB, quantity

ARCHITECTURES = frozenset({"amd64", "arm64"})
"""Node architectures that our images are built for."""
ARCH_LABEL = "kubernetes.io/arch"
OS = "linux"
OS_LABEL = "kubernetes.io/os"
"""The kubelet sets both labels on every node."""
GPU_RESOURCES = (
    "nvidia.com/gpu",
    "amd.com/gpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "habana.ai/gaudi",
    "huawei.com/Ascend910",
)
"""Extended resources by which device plugins offer accelerators; MIG slices are ``nvidia.com/mig-…``."""
__all__ = [
    "ARCHITECTURES",
    "ARCH_LABEL",
    "OS",
    "OS_LABEL",
    "node_facts",
    "quantity",
    "tolerates",
    "unsuitable",
]
MIG_PREFIX = "nvidia.com/mig-"
BLOCKING_EFFECTS = ("NoSchedule", "NoExecute")


def node_facts(raw: dict[str, Any]) -> NodeFacts:
    """Facts of one Node as the API server returns it.

    Unschedulable (cordoned) nodes count as not ready. What the object lacks counts as 0 or empty.
    """
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    labels = raw["metadata"].get("labels") or {}
    allocatable = status.get("allocatable") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    info = status.get("nodeInfo") or {}
    return NodeFacts(
        name=raw["metadata"]["name"],
        architecture=labels.get(ARCH_LABEL) or info.get("architecture", ""),
        cpu=quantity(allocatable.get("cpu", 0)),
        memory=int(quantity(allocatable.get("memory", 0))),
        ephemeral_storage=int(quantity(allocatable.get("ephemeral-storage", 0))),
        ready=conditions.get("Ready") == "True" and not spec.get("unschedulable"),
        labels=tuple(sorted(labels.items())),
        taints=tuple(
            f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"
            for taint in spec.get("taints") or ()
            if taint.get("effect") in BLOCKING_EFFECTS
        ),
        gpus=_gpus(allocatable, labels),
        # Without a kubelet, the API server fills in an empty text.
        os=labels.get(OS_LABEL) or info.get("operatingSystem") or OS,
    )


def _gpus(allocatable: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Accelerators by resource name; product and memory as GPU feature discovery labels them (MiB)."""
    found = []
    for resource, count in sorted(allocatable.items()):
        if resource not in GPU_RESOURCES and not resource.startswith(MIG_PREFIX):
            continue
        if (number := int(quantity(count))) > 0:
            vendor = resource.split("/", 1)[0]
            memory = labels.get(f"{vendor}/gpu.memory", "0")
            product = labels.get(f"{vendor}/gpu.product", "")
            found.append(Gpu(resource, number, product, int(memory) * MIB if memory.isdecimal() else 0))
    return tuple(found)


def unsuitable(node: NodeFacts, overrides: PodOverrides | None) -> str:
    """Why pods of ours can't run on this node, whatever they need; empty when they can."""
    if not node.ready:
        return "not ready, or cordoned"
    if node.os != OS:
        return f"operating system {node.os}: images are for {OS}"
    if node.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        return f"architecture {node.architecture or 'unknown'}: images are for {known}"
    wanted = (overrides.node_selector if overrides else None) or {}
    labels = dict(node.labels)
    for key, value in sorted(wanted.items()):
        if labels.get(key) != value:
            return f"podOverrides.nodeSelector wants {key}={value}"
    tolerations = (overrides.tolerations if overrides else None) or []
    for taint in node.taints:
        if not tolerates(tolerations, taint):
            return f"taint {taint} is not tolerated"
    return ""


def tolerates(tolerations: Sequence[Toleration], taint: str) -> bool:
    """Whether one of the tolerations matches ``key=value:effect``, by the rules of the scheduler."""
    pair, _, effect = taint.rpartition(":")
    key, _, value = pair.partition("=")
    return any(
        toleration.effect in (None, effect)
        and (
            (toleration.operator == "Exists" and toleration.key in (None, "", key))
            or (
                toleration.operator in (None, "Equal")
                and toleration.key == key
                and (toleration.value or "") == value
            )
        )
        for toleration in tolerations
    )
