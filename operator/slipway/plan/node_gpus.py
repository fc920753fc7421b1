"""The accelerators of a node, from what device plugins offer and feature discovery labels. Called by nodes.

Label names and units are those of GPU feature discovery (NVIDIA, MiB), the ROCm node labeller (``192G``),
Intel's device plugins and Ascend's; what a node does not say is taken from the product's data sheet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from slipway.plan.facts import Gpu
from slipway.plan.gpus import FOREIGN, MIG_PREFIX, RESOURCES, known_memory
from slipway.plan.quantities import GIB, MIB, quantity

PRODUCT_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "nvidia": (
        "nvidia.com/gpu.product",
        "cloud.google.com/gke-accelerator",
        "karpenter.k8s.aws/instance-gpu-name",
    ),
    "amd": ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name", "amd.com/gpu.family"),
    "intel": ("gpu.intel.com/product", "gpu.intel.com/family"),
    "gaudi": ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"),
    "ascend": ("node.kubernetes.io/npu.chip.name", "accelerator-type", "accelerator"),
}
"""Vendor to the labels that name the product, the most telling first."""
MEMORY_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "amd": ("amd.com/gpu.vram", "beta.amd.com/gpu.vram"),
    "ascend": ("mind-cluster/npu-chip-memory",),
}
"""Vendor to the labels of one device's memory, written ``192G`` and meant in GiB."""
INTEL_DEVICES: Final[Mapping[str, str]] = {
    "56a0": "ARC-A770", "56a1": "ARC-A750", "e20b": "ARC-B580", "e211": "ARC-PRO-B60", "56c0": "FLEX-170",
    "56c1": "FLEX-140", "0bd5": "MAX-1550", "0bda": "MAX-1100",
}  # fmt: skip
"""PCI device id to the product; Intel's labels name the id of every device, the product of few."""
INTEL_DEVICE: Final = re.compile(r"gpu\.intel\.com/device-id\.03[0-9a-f]{2}-([0-9a-f]{4})\.present")
SHARED: Final = ("time-slicing", "mps")


def read_gpus(allocatable: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Accelerators by resource name, those of unknown vendors too, so that a refusal can name them."""
    found = []
    for resource, amount in sorted(allocatable.items()):
        vendor = "nvidia" if resource.startswith(MIG_PREFIX) else RESOURCES.get(resource, "")
        if (vendor or FOREIGN.fullmatch(resource)) and (count := int(quantity(amount))) > 0:
            found.append(_gpu(resource, vendor, count, labels))
    return tuple(found)


def _gpu(resource: str, vendor: str, count: int, labels: Mapping[str, str]) -> Gpu:
    if vendor == "nvidia":
        return _nvidia(resource, count, labels)
    product = _labelled(labels, PRODUCT_LABELS.get(vendor, ()))
    if vendor == "intel" and not known_memory(vendor, product):
        product = _intel_product(labels) or product
    if vendor == "ascend" and not product:
        product = resource.partition("/")[2]
    if vendor == "gaudi" and not known_memory(vendor, product):
        product = ""  # a machine's name that says nothing of the device
    memory = _gibibytes(_labelled(labels, MEMORY_LABELS.get(vendor, ())))
    return Gpu(resource, count, product, memory or known_memory(vendor, product), vendor)


def _labelled(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _intel_product(labels: Mapping[str, str]) -> str:
    found = (INTEL_DEVICE.fullmatch(name) for name in labels)
    return next((INTEL_DEVICES[one[1]] for one in found if one and one[1] in INTEL_DEVICES), "")


def _nvidia(resource: str, count: int, labels: Mapping[str, str]) -> Gpu:
    """A device, a MIG slice (``mixed``: a resource of its own; ``single``: by its product) or a share."""
    prefix = resource if resource.startswith(MIG_PREFIX) else "nvidia.com/gpu"
    product = labels.get(f"{prefix}.product") or _labelled(labels, PRODUCT_LABELS["nvidia"])
    mebibytes = labels.get(f"{prefix}.memory", "")
    memory = int(mebibytes) * MIB if mebibytes.isdecimal() else 0
    sliced = prefix != "nvidia.com/gpu" or "-MIG-" in product
    if not memory and not sliced:
        memory = known_memory("nvidia", product)
    strategy = labels.get(f"{prefix}.sharing-strategy", "")
    replicas = labels.get(f"{prefix}.replicas", "")
    shares = int(replicas) if strategy in SHARED and replicas.isdecimal() and int(replicas) > 1 else 1
    return Gpu(
        resource,
        count,
        product,
        memory // shares,
        "nvidia",
        _compute(labels),
        strategy if shares > 1 else ("mig" if sliced else ""),
        shares,
    )


def _compute(labels: Mapping[str, str]) -> float:
    major, minor = (labels.get(f"nvidia.com/gpu.compute.{part}", "") for part in ("major", "minor"))
    return float(f"{major}.{minor}") if major.isdecimal() and minor.isdecimal() else 0.0


def _gibibytes(text: str) -> int:
    number = text.rstrip("GgiB")
    return int(number) * GIB if number.isdecimal() else 0
