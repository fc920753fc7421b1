"""Facts from Node objects, and which nodes pods may use; called by observe, decide and ``slipway plan``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec, PodOverrides, Toleration
from slipway.plan.facts import NodeFacts
from slipway.plan.gpus import RESOURCES, VENDORS
from slipway.plan.node_gpus import read_gpus
from slipway.plan.quantities import quantity

ARCHITECTURES = frozenset({"amd64", "arm64"})
"""Node architectures that our images are built for."""
ARCH_LABEL = "kubernetes.io/arch"
OS = "linux"
OS_LABEL = "kubernetes.io/os"
"""The kubelet sets both labels on every node."""
__all__ = [
    "ARCHITECTURES",
    "ARCH_LABEL",
    "OS",
    "OS_LABEL",
    "accelerator_taints",
    "node_facts",
    "quantity",
    "tolerates",
    "unsuitable",
]
AKS_TAINT = "sku=gpu"
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
        gpus=read_gpus(allocatable, labels),
        # Without a kubelet, the API server fills in an empty text.
        os=labels.get(OS_LABEL) or info.get("operatingSystem") or OS,
    )


def engine_overrides(spec: ModelDeploymentSpec) -> PodOverrides | None:
    """What the engine's pods need of nodes: podOverrides and the engine's own selector."""
    engine = spec.engine
    if engine is None or not engine.node_selector:
        return engine.pod_overrides if engine else None
    overrides = engine.pod_overrides or PodOverrides()
    both = {**(overrides.node_selector or {}), **engine.node_selector}
    return overrides.model_copy(update={"node_selector": both})


def unsuitable(node: NodeFacts, overrides: PodOverrides | None, resource: str = "") -> str:
    """Why pods of ours can't run on this node, whatever they need; empty when they can.

    Args:
        node: the node.
        overrides: the user's.
        resource: of the accelerator that the pods request; they tolerate ``accelerator_taints`` of it.
    """
    if not node.ready:
        return "not ready, or cordoned"
    if node.os != OS:
        mac = "Apple silicon serves one person on the machine itself: see slipway export"
        return mac if node.os == "darwin" else f"operating system {node.os}: images are for {OS}"
    if node.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        return f"architecture {node.architecture or 'unknown'}: images are for {known}"
    wanted = (overrides.node_selector if overrides else None) or {}
    labels = dict(node.labels) if wanted else {}
    for key, value in sorted(wanted.items()):
        if labels.get(key) != value:
            return f"nodeSelector wants {key}={value}"
    tolerations = (overrides.tolerations if overrides else None) or []
    own = accelerator_taints(resource)
    for taint in node.taints:
        pair = taint.rpartition(":")[0]
        if pair not in own and pair.partition("=")[0] not in own and not tolerates(tolerations, taint):
            return f"taint {taint} is not tolerated"
    return ""


def accelerator_taints(resource: str) -> tuple[str, ...]:
    """Taints by which clusters keep other pods off nodes with this accelerator, ``key`` or ``key=value``.

    The custom is a taint named as the resource, which Kubernetes' ExtendedResourceToleration tolerates for
    pods that request it, where that is on; slices and shares lie on nodes that are tainted for the whole
    device. AKS documents its own. Without an accelerator there are none.
    """
    if not resource:
        return ()
    return tuple(dict.fromkeys((resource, *VENDORS[RESOURCES.get(resource, "nvidia")][:1], AKS_TAINT)))


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
