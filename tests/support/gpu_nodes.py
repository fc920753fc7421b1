"""Node objects as ``kubectl get nodes -o json`` gives them on real machines, pure; for tests of plans.

``gpu_node(kind, name)`` makes one of the ``KINDS``. The labels are those that each vendor's own programs set:
every builder names the project and the file that they were read from. Memory is what these programs report:
a T4 has 15360 MiB and an H100 81559.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tests.support.machines import Labels, Machine, Node, aws, node

Builder = Callable[[str, int], Node]
PRESENT = "nvidia.com/gpu=present:NoSchedule"  # GKE's own, and what NVIDIA's charts tolerate
AKS = "sku=gpu:NoSchedule"  # as AKS documents its GPU pools
MIG = {"1g.10gb": (9728, 14, 1, 0), "2g.20gb": (19968, 28, 2, 1), "3g.40gb": (40192, 42, 3, 2)}
"""Of an A100 80 GB: memory in MiB, multiprocessors, copy engines (also its slices), decoders."""
MIG_CAPABLE = ("8.0", "9.0", "10.0")
"""Compute capabilities of the devices in the catalogue that can be cut."""
BALANCED = {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}
"""MIG devices on each GPU with the MIG manager's configuration ``all-balanced``."""


@dataclass(frozen=True)
class Card:
    """An NVIDIA device as NVML describes it: name, MiB, compute capability, and the number in the machine."""

    name: str
    mib: int
    compute: str
    count: int = 1
    mode: str = "compute"

    @property
    def family(self) -> str:
        """As GPU feature discovery derives it from the compute capability (old releases: "undefined")."""
        known = {"7.5": "turing", "8.0": "ampere", "8.6": "ampere", "8.9": "ada-lovelace", "9.0": "hopper"}
        return known.get(self.compute, "blackwell")


def nvidia_labels(card: Card, replicas: int = 1, sharing: str = "none") -> Labels:
    """GPU feature discovery's labels.

    Source: NVIDIA/k8s-device-plugin ``internal/lm/resource.go`` (product, -SHARED, replicas, family,
    sharing-strategy; ``gpu.memory`` and ``gpu.count`` stay the whole device's under sharing),
    ``internal/lm/nvml.go`` (versions, ``mig.capable``), ``docs/gpu-feature-discovery/README.md``. The GPU
    operator's NFD adds ``pci-10de.present``.
    """
    name = "-".join(card.name.split()) + ("-SHARED" if replicas > 1 else "")
    major, _, minor = card.compute.partition(".")
    values = {
        "product": name, "memory": card.mib, "count": card.count, "replicas": replicas, "mode": card.mode,
        "sharing-strategy": sharing, "family": card.family, "compute.major": major, "compute.minor": minor,
        "machine": "Standard-PC", "present": "true", "deploy.device-plugin": "true",
    }  # fmt: skip
    made = {f"nvidia.com/gpu.{key}": str(value) for key, value in values.items()}
    return made | {
        "nvidia.com/cuda.driver-version.full": "580.95.05",
        "nvidia.com/cuda.driver.major": "580",
        "nvidia.com/cuda.runtime-version.full": "13.0",
        "nvidia.com/cuda.runtime.major": "13",
        "nvidia.com/gfd.timestamp": "1760000000",
        "nvidia.com/mig.capable": str(card.compute in MIG_CAPABLE).lower(),
        "nvidia.com/mps.capable": str(sharing == "mps").lower(),
        "nvidia.com/vgpu.present": "false",
        "feature.node.kubernetes.io/pci-10de.present": "true",
    }


def _nvidia(name: str, machine: Machine, card: Card, replicas: int = 1, sharing: str = "none") -> Node:
    """With shares, each device counts as often as pods may use it."""
    labels = nvidia_labels(card, replicas, sharing)
    return node(name, machine, labels, {"nvidia.com/gpu": str(card.count * replicas)})


def _mig_values(profile: str, count: int) -> Labels:
    memory, processors, slices, decoders = MIG[profile]
    return {
        "count": str(count), "memory": str(memory), "multiprocessors": str(processors),
        "product": f"NVIDIA-A100-SXM4-80GB-MIG-{profile}", "replicas": "1", "sharing-strategy": "none",
        "slices.gi": str(slices), "slices.ci": str(slices), "engines.copy": str(slices),
        "engines.decoder": str(decoders), "engines.encoder": "0", "engines.jpeg": "0", "engines.ofa": "0",
    }  # fmt: skip


def _mig(name: str, count: int, strategy: str) -> Node:
    """MIG on A100 80 GB, 1g.10gb only (single) or the manager's all-balanced (mixed).

    Source: NVIDIA/k8s-device-plugin ``internal/lm/resource.go`` (``NewMIGResourceLabeler``: parent's product,
    "MIG", profile) and ``docs/gpu-feature-discovery/README.md``; memory and engines as NVML says them of such
    slices. With mixed, ``nvidia.com/gpu`` stays there with nothing to give.
    """
    card = Card("NVIDIA A100-SXM4-80GB", 81920, "8.0", count)
    profiles = {"1g.10gb": 7} if strategy == "single" else BALANCED
    config = "all-1g.10gb" if strategy == "single" else "all-balanced"
    labels = nvidia_labels(card) | {"nvidia.com/mig.strategy": strategy, "nvidia.com/mig.config": config}
    labels |= {"nvidia.com/mig.config.state": "success"}
    labels |= {"nvidia.com/gpu.replicas": "0"} if strategy == "mixed" else {}
    resources = {} if strategy == "single" else {"nvidia.com/gpu": "0"}
    for profile, each in profiles.items():
        resource = "nvidia.com/gpu" if strategy == "single" else f"nvidia.com/mig-{profile}"
        resources[resource] = str(each * count)
        values = _mig_values(profile, each * count).items()
        labels |= {f"{resource}.{key}": value for key, value in values}
    return node(name, aws("p4de.24xlarge", 96, 1152, 250, PRESENT), labels, resources)


def _gke(name: str, count: int) -> Node:
    """An L4 as GKE delivers it: no feature discovery, so nobody says how much memory it has.

    Source: Google's documentation of GPU node pools (``cloud.google.com/gke-accelerator``).
    """
    cores = {1: 8, 2: 24, 4: 48, 8: 96}[count]
    zone = "us-central1-a"
    machine = Machine(f"g2-standard-{cores}", cores, 4 * cores, 100, zone=zone, taints=(PRESENT,))
    labels = {"cloud.google.com/gke-accelerator": "nvidia-l4", "cloud.google.com/gke-nodepool": "l4"}
    labels |= {"cloud.google.com/gke-accelerator-count": str(count)}
    return node(name, machine, labels, {"nvidia.com/gpu": str(count)})


def _amd(name: str, machine: Machine, count: int, values: Mapping[str, str]) -> Node:
    """Labels of AMD's node labeller, stable and beta, and of NFD.

    Source: ROCm/k8s-device-plugin ``cmd/k8s-node-labeller/main.go`` (``createLabels``: with one kind of
    device the value stands alone, and beta counts it too; ``vram`` in whole GiB) and its documented MI300X;
    ROCm/gpu-operator's NFD rule (``amd-gpu``, PCI ids); kubernetes-sigs/node-feature-discovery
    ``docs/usage/features.md`` (``pci-<class>_<vendor>``).
    """
    labels = {"feature.node.kubernetes.io/amd-gpu": "true", "amd.com/gpu.driver-version": "6.14.14"}
    for key, value in values.items():
        labels |= {f"amd.com/gpu.{key}": value, f"beta.amd.com/gpu.{key}": value}
        labels[f"beta.amd.com/gpu.{key}.{value}"] = str(count)
    mi300 = values["product-name"].startswith("AMD_Instinct_MI3")
    # A display controller to PCI, or, as the newer ones, a processing accelerator.
    labels[f"feature.node.kubernetes.io/pci-{'1200' if mi300 else '0380'}_1002.present"] = "true"
    supported = {"compute": mi300, "memory": mi300}
    labels |= {f"amd.com/{key}-partitioning-supported": str(yes).lower() for key, yes in supported.items()}
    labels |= {"amd.com/compute-memory-partition": "spx_nps1"} if mi300 else {}
    return node(name, machine, labels, {"amd.com/gpu": str(count)})


def _intel(name: str, machine: Machine, count: int, device: str, series: str) -> Node:
    """NFD's labels by Intel's rules; only data-centre devices have a product, only the hook told memory.

    Source: intel/intel-device-plugins-for-kubernetes ``deployments/nfd/overlays/node-feature-rules/``
    (``node-feature-rules.yaml``, ``platform-labeling-rules.yaml``) and ``cmd/gpu_plugin/labels.md``
    (``memory.max``: bytes of all devices together, also an extended resource). The driver xe has a resource
    of its own.
    """
    family, _, product = series.partition("/")
    class_id = "0300" if device.startswith(("56a", "e2")) else "0380"
    driver = "xe" if device.startswith("e2") else "i915"
    prefix = f"gpu.intel.com/device-id.{class_id}-{device}"
    labels = {f"{prefix}.present": "true", f"{prefix}.count": str(count)}
    labels |= {"intel.feature.node.kubernetes.io/gpu": "true"}
    labels |= {"gpu.intel.com/family": family} if family else {}
    resources = {f"gpu.intel.com/{driver}": str(count)}
    if product:
        labels |= {"gpu.intel.com/product": product, "gpu.intel.com/device.count": str(count)}
    if product.startswith("Max"):  # as the hook, now retired, left it on such machines
        tiles = {
            "memory.max": str(count * 128 * 2**30),
            "millicores": str(count * 1000),
            "tiles": str(2 * count),
        }
        labels |= {f"gpu.intel.com/{key}": value for key, value in tiles.items()}
        resources |= {f"gpu.intel.com/{key}": value for key, value in tiles.items()}
    return node(name, machine, labels, resources)


def _gaudi(name: str, machine: Machine, count: int) -> Node:
    """Gaudi: no label says which generation it is or how much memory it has.

    Source: HabanaAI/habanalabs-feature-discovery ``README.md`` (``habana.ai/…``);
    intel/intel-technology-enabling-for-openshift ``gaudi/README.md`` (``pci-1da3.present``);
    intel/intel-resource-drivers-for-kubernetes ``doc/gaudi/USAGE.md`` (``intel.feature.node…/gaudi``).
    """
    labels = {"habana.ai/device.count": str(count), "habana.ai/driver.version": "1.22.0-97ec1a4"}
    labels |= {"habana.ai/machine.type": "KVM", "habana.ai/hfd.timestamp": "1760000000"}
    labels |= {"feature.node.kubernetes.io/pci-1da3.present": "true"}
    labels |= {"intel.feature.node.kubernetes.io/gaudi": "true"}
    made = node(name, machine, labels, {"habana.ai/gaudi": str(count)})
    for part in ("capacity", "allocatable"):
        made["status"][part]["hugepages-2Mi"] = "150000Mi"  # its runtime needs them
    return made


def _ascend(name: str, count: int) -> Node:
    """Ascend 910B3 in an Atlas 800 A2 (64 GB each), Arm.

    Source: Ascend/mind-cluster ``component/ascend-device-plugin/pkg/common/constants.go`` and its ``api``
    package (``npu.chip.name``, ``servertype``: chip and AI cores, ``mind-cluster/npu-chip-memory``), and what
    its documentation has an administrator set (``accelerator``, ``accelerator-type``, ``host-arch``).
    """
    labels = {
        "accelerator": "huawei-Ascend910", "accelerator-type": "module-910b-8", "host-arch": "huawei-arm",
        "node.kubernetes.io/npu.chip.name": "910B3", "servertype": "Ascend910B-20", "nodeDEnable": "on",
        "mind-cluster/npu-chip-memory": "64G", "workerselector": "dls-worker-node",
        "node-role.kubernetes.io/worker": "worker", "huawei.com/driver.version": "25.5.0",
    }  # fmt: skip
    machine = Machine("", 192, 1536, 3500, arch="arm64")
    return node(name, machine, labels, {"huawei.com/Ascend910": str(count)})


CARDS: Mapping[str, tuple[Machine, Card]] = {
    "t4": (aws("g4dn.xlarge", 4, 16, 29, PRESENT), Card("Tesla T4", 15360, "7.5")),
    "l4": (aws("g6.2xlarge", 8, 32, 58, PRESENT), Card("NVIDIA L4", 23034, "8.9")),
    "l40s": (aws("g6e.4xlarge", 16, 128, 234, PRESENT), Card("NVIDIA L40S", 46068, "8.9")),
    "a10g": (aws("g5.2xlarge", 8, 32, 58, PRESENT), Card("NVIDIA A10G", 23028, "8.6")),
    "rtx-4060-laptop": (
        Machine("k3s", 16, 16, 500),
        Card("NVIDIA GeForce RTX 4060 Laptop GPU", 8188, "8.9", mode="graphics"),
    ),
    "rtx-4090": (
        Machine("k3s", 32, 64, 2000),
        Card("NVIDIA GeForce RTX 4090", 24564, "8.9", mode="graphics"),
    ),
    "a100-40gb": (
        aws("p4d.24xlarge", 96, 1152, 250, PRESENT),
        Card("NVIDIA A100-SXM4-40GB", 40960, "8.0", 8),
    ),
    "a100-80gb": (
        aws("p4de.24xlarge", 96, 1152, 250, PRESENT),
        Card("NVIDIA A100-SXM4-80GB", 81920, "8.0", 8),
    ),
    "h100": (aws("p5.48xlarge", 192, 2048, 250, PRESENT), Card("NVIDIA H100 80GB HBM3", 81559, "9.0", 8)),
    "h200": (aws("p5en.48xlarge", 192, 2048, 250, PRESENT), Card("NVIDIA H200", 143771, "9.0", 8)),
    "gh200": (Machine("", 72, 480, 3500, arch="arm64"), Card("NVIDIA GH200 480GB", 97871, "9.0")),
    "b200": (aws("p6-b200.48xlarge", 192, 2048, 250, PRESENT), Card("NVIDIA B200", 183359, "10.0", 8)),
}
"""Machines whose NVIDIA devices are whole, and how many they have."""


def _whole(kind: str) -> Builder:
    machine, card = CARDS[kind]
    return lambda name, count: _nvidia(name, machine, replace(card, count=count or card.count))


def _shared(kind: str, replicas: int, sharing: str) -> Builder:
    machine, card = CARDS[kind]
    return lambda name, count: _nvidia(
        name, machine, replace(card, count=count or card.count), replicas, sharing
    )


def _unlabelled(name: str, count: int) -> Node:
    """The device plugin alone, without feature discovery: a resource, and nothing that says what it is."""
    return node(name, Machine("", 64, 512, 2000), {}, {"nvidia.com/gpu": str(count or 2)})


MI210 = {"product-name": "AMD_Instinct_MI210", "device-id": "740f", "family": "AI", "vram": "64G"}
MI210 |= {"cu-count": "104", "simd-count": "416"}
MI300X = {"product-name": "AMD_Instinct_MI300X_OAM", "device-id": "74a1", "family": "AI", "vram": "192G"}
MI300X |= {"cu-count": "304", "simd-count": "1216"}
SERVER = Machine("", 128, 512, 2000)
MI300X_VM = Machine("Standard_ND96isr_MI300X_v5", 96, 1850, 1000, 110, zone="westus-1", taints=(AKS,))
GAUDI2 = Machine("bm-icp-gaudi2", 160, 1024, 3500)
GAUDI3 = Machine("gx3d-160x1792x8gaudi3", 160, 1792, 3500, zone="us-east-1")
KINDS: Mapping[str, Builder] = {
    **{kind: _whole(kind) for kind in CARDS},
    "a100-80gb-mig-single": lambda name, count: _mig(name, count or 8, "single"),
    "a100-80gb-mig-mixed": lambda name, count: _mig(name, count or 8, "mixed"),
    "l4-time-slicing": _shared("l4", 4, "time-slicing"),
    "t4-mps": _shared("t4", 4, "mps"),
    "gke-l4": lambda name, count: _gke(name, count or 1),
    "nvidia-unlabelled": _unlabelled,
    "mi210": lambda name, count: _amd(name, SERVER, count or 2, MI210),
    "mi300x": lambda name, count: _amd(name, MI300X_VM, count or 8, MI300X),
    "arc-a770": lambda name, count: _intel(
        name, Machine("k3s", 16, 64, 1000), count or 1, "56a0", "A_Series"
    ),
    "arc-a770-arm64": lambda name, count: _intel(
        name, Machine("k3s", 16, 64, 1000, arch="arm64"), count or 1, "56a0", "A_Series"
    ),
    "arc-b580": lambda name, count: _intel(name, Machine("k3s", 16, 64, 1000), count or 1, "e20b", ""),
    "flex-170": lambda name, count: _intel(name, SERVER, count or 2, "56c0", "Flex_Series/Flex_170"),
    "max-1550": lambda name, count: _intel(name, SERVER, count or 4, "0bd5", "Max_Series/Max_1550"),
    "gaudi2": lambda name, count: _gaudi(name, GAUDI2, count or 8),
    "gaudi3": lambda name, count: _gaudi(name, GAUDI3, count or 8),
    "ascend-910b": lambda name, count: _ascend(name, count or 8),
    "raspberry-pi-4": lambda name, _: node(name, Machine("k3s", 4, 4, 64, arch="arm64"), {}, {}),
    "laptop-16gb": lambda name, _: node(name, Machine("k3s", 8, 16, 500), {}, {}),
    "m7i-4xlarge": lambda name, _: node(name, aws("m7i.4xlarge", 16, 64, 234), {}, {}),
}
"""Every machine of the catalogue."""


def gpu_node(kind: str, name: str = "", count: int = 0) -> Node:
    """A node of this kind; ``count`` devices in place of what such a machine has (before MIG and sharing).

    Raises:
        KeyError: no such kind.
    """
    return KINDS[kind](name or f"{kind}-1", count)


def node_list(*nodes: Node) -> Node:
    """What ``kubectl get nodes -o json`` prints."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(nodes)}
