"""Accelerators: who makes them, what they can compute, how fast their memory is. Pure data; read by nodes.

Memory and bandwidth are the makers' data sheets; they order plans and bound speed, they promise none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from slipway.plan.facts import Gpu
from slipway.plan.quantities import GIB

MIG_PREFIX: Final = "nvidia.com/mig-"
VENDORS: Final[Mapping[str, tuple[str, ...]]] = {
    "nvidia": ("nvidia.com/gpu", "nvidia.com/gpu.shared"),
    "amd": ("amd.com/gpu",),
    "intel": ("gpu.intel.com/i915", "gpu.intel.com/xe"),
    "gaudi": ("habana.ai/gaudi",),
    "ascend": (
        "huawei.com/Ascend910",
        "huawei.com/Ascend910A",
        "huawei.com/Ascend910B",
        "huawei.com/Ascend310",
        "huawei.com/Ascend310P",
    ),
}
"""Vendor to the extended resources by which its device plugin offers whole devices."""
RESOURCES: Final[Mapping[str, str]] = {name: vendor for vendor, names in VENDORS.items() for name in names}
FOREIGN: Final = re.compile(r"[^/]+/[^/]*(gpu|npu|tpu|vgpu|accelerator|dcu|mlu)[^/]*", re.IGNORECASE)
"""Extended resources that look like accelerators of a vendor that we don't know."""
FP8_COMPUTE: Final = 8.9
BF16_COMPUTE: Final = 8.0
"""NVIDIA's compute capabilities: FP8 units came with Ada (8.9) and Hopper, bfloat16 with Ampere (8.0)."""


@dataclass(frozen=True)
class Product:
    """A device of a data sheet.

    Attributes:
        pattern: matches the label's value in upper case.
        memory: GiB.
        bandwidth: of its memory, GB/s.
        compute: compute capability of NVIDIA devices.
        fp8: it has FP8 units; None: by its compute capability.
    """

    vendor: str
    pattern: re.Pattern[str]
    memory: float
    bandwidth: int
    compute: float = 0.0
    fp8: bool | None = None


def _nvidia(pattern: str, memory: float, bandwidth: int, compute: float) -> Product:
    return Product("nvidia", re.compile(pattern), memory, bandwidth, compute)


def _other(vendor: str, pattern: str, memory: float, bandwidth: int, *, fp8: bool = False) -> Product:
    return Product(vendor, re.compile(pattern), memory, bandwidth, fp8=fp8)


PRODUCTS: Final[tuple[Product, ...]] = (
    _nvidia(r"\bB300|GB300", 288, 8000, 10.3),
    _nvidia(r"\bB200|GB200", 180, 8000, 10.0),
    _nvidia(r"GH200.*144", 144, 4900, 9.0),
    _nvidia(r"GH200", 96, 4000, 9.0),
    _nvidia(r"H200", 141, 4800, 9.0),
    _nvidia(r"H100.*NVL", 94, 3938, 9.0),
    _nvidia(r"H100.*PCIE", 80, 2039, 9.0),
    _nvidia(r"H100|H800|H20\b", 80, 3350, 9.0),
    _nvidia(r"A100.*40GB", 40, 1555, 8.0),
    _nvidia(r"A100|A800", 80, 2039, 8.0),
    _nvidia(r"A30\b", 24, 933, 8.0),
    _nvidia(r"L40S", 48, 864, 8.9),
    _nvidia(r"L40\b", 48, 864, 8.9),
    _nvidia(r"\bL4\b", 24, 300, 8.9),
    _nvidia(r"A10G?\b", 24, 600, 8.6),
    _nvidia(r"A40\b", 48, 696, 8.6),
    _nvidia(r"\bA2\b", 16, 200, 8.6),
    _nvidia(r"\bT4\b", 16, 300, 7.5),
    _nvidia(r"V100.*32GB", 32, 900, 7.0),
    _nvidia(r"V100", 16, 900, 7.0),
    _nvidia(r"RTX.PRO.6000", 96, 1792, 12.0),
    _nvidia(r"RTX.6000.ADA", 48, 960, 8.9),
    _nvidia(r"RTX.A6000", 48, 768, 8.6),
    _nvidia(r"RTX.5090", 32, 1792, 12.0),
    _nvidia(r"RTX.4090", 24, 1008, 8.9),
    _nvidia(r"RTX.4080", 16, 717, 8.9),
    _nvidia(r"RTX.4070", 12, 504, 8.9),
    _nvidia(r"RTX.4060", 8, 256, 8.9),
    _nvidia(r"RTX.3090", 24, 936, 8.6),
    _nvidia(r"RTX.3080", 10, 760, 8.6),
    _nvidia(r"RTX.3070", 8, 448, 8.6),
    _nvidia(r"RTX.3060", 12, 360, 8.6),
    _other("amd", r"MI35[05]X", 288, 8000, fp8=True),
    _other("amd", r"MI325X", 256, 6000, fp8=True),
    _other("amd", r"MI300X", 192, 5300, fp8=True),
    _other("amd", r"MI300A", 128, 5300, fp8=True),
    _other("amd", r"MI250", 64, 1638),
    _other("amd", r"MI210", 64, 1638),
    _other("amd", r"W7900", 48, 864),
    _other("amd", r"7900.XTX", 24, 960),
    _other("intel", r"MAX.1550", 128, 3277),
    _other("intel", r"MAX.1100", 48, 1229),
    _other("intel", r"FLEX.170", 16, 512),
    _other("intel", r"FLEX.140", 12, 336),
    _other("intel", r"B60\b", 24, 456),
    _other("intel", r"B580", 12, 456),
    _other("intel", r"A750", 8, 512),
    _other("intel", r"A770", 16, 560),
    _other("gaudi", r"GAUDI.?3|HL-?3", 128, 3700, fp8=True),
    _other("gaudi", r"GAUDI.?2|HL-?2", 96, 2450, fp8=True),
    _other("ascend", r"910C|910_93", 64, 1600),
    _other("ascend", r"910B", 64, 1600),
    _other("ascend", r"910", 32, 1200),
    _other("ascend", r"310P", 24, 204),
)
"""Known devices, the more special name first."""
SLOWEST: Final = 200
"""GB/s taken for a device of no known product."""


@cache
def product_of(vendor: str, name: str) -> Product | None:
    """The known device of a label's value; None for another."""
    text = name.upper().replace("_", "-")
    spaced = text.replace("-", " ")
    return next(
        (
            one
            for one in PRODUCTS
            if one.vendor == vendor and (one.pattern.search(text) or one.pattern.search(spaced))
        ),
        None,
    )


def known_memory(vendor: str, name: str) -> int:
    """Bytes that a known device surely offers, 0 for another.

    Error correction takes up to a sixteenth of what the data sheet says: an L4 of 24 GB reports 22.5 GiB.
    """
    product = product_of(vendor, name)
    return round(product.memory * GIB) * 15 // 16 if product else 0


def compute_of(gpu: Gpu) -> float:
    """Compute capability by label, else by product; 0 when neither says it."""
    product = product_of(gpu.vendor, gpu.product)
    return gpu.compute or (product.compute if product else 0.0)


def has_fp8(gpu: Gpu) -> bool:
    """Whether the device computes in FP8."""
    if gpu.vendor == "nvidia":
        return compute_of(gpu) >= FP8_COMPUTE
    product = product_of(gpu.vendor, gpu.product)
    return bool(product and product.fp8)


def has_bf16(gpu: Gpu) -> bool:
    """Whether the device computes in bfloat16; else 16-bit models run in float16."""
    return gpu.vendor != "nvidia" or compute_of(gpu) >= BF16_COMPUTE


def bandwidth(gpu: Gpu) -> float:
    """GB/s of the device's memory that one pod has; a share has its part."""
    product = product_of(gpu.vendor, gpu.product)
    whole = product.bandwidth if product else SLOWEST
    part = gpu.memory / (product.memory * GIB) if product and gpu.sharing == "mig" and gpu.memory else 1.0
    return whole * min(1.0, part) / gpu.shares
