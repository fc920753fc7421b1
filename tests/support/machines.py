"""Nodes as the kubelet and the cloud describe them, accelerators aside; for ``gpu_nodes``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Node = dict[str, Any]
Labels = dict[str, str]
KIB_IN_GIB = 1024 * 1024


@dataclass(frozen=True)
class Machine:
    """What the kubelet and the cloud say of a machine, accelerators aside (``gib``: as its seller counts)."""

    instance: str
    cpu: int
    gib: int
    disk: int = 200
    pods: int = 110
    arch: str = "amd64"
    zone: str = ""
    taints: tuple[str, ...] = ()


def aws(instance: str, cpu: int, gib: int, pods: int, *taints: str) -> Machine:
    """A machine of EC2, for an EKS pool."""
    return Machine(instance, cpu, gib, 200, pods, zone="us-east-1a", taints=taints)


def _allocatable(machine: Machine) -> Mapping[str, int]:
    """CPU in thousandths, memory and disk in KiB.

    In a cloud what EKS leaves to pods (awslabs/amazon-eks-ami ``bootstrap.sh``: it keeps 255 MiB and 11 MiB a
    pod, 100 MiB before eviction, 6 % of the first core and less of each next), elsewhere all but 100 MiB.
    """
    # The firmware and the kernel keep between 1 and 3 %.
    memory = machine.gib * KIB_IN_GIB * 98 // 100
    cpu, disk = machine.cpu * 1000, machine.disk * KIB_IN_GIB * 9 // 10
    if not machine.zone:
        return {"cpu": cpu, "memory": memory - 100 * 1024, "disk": disk}
    kept = 60 + 10 + 5 * 2 + int(2.5 * max(machine.cpu - 4, 0))
    reserved = 1024 * (255 + 11 * machine.pods + 100)
    return {"cpu": cpu - kept, "memory": memory - reserved, "disk": disk - KIB_IN_GIB}


def _status(machine: Machine, resources: Labels) -> Node:
    left = _allocatable(machine)
    capacity = {"cpu": str(machine.cpu), "memory": f"{machine.gib * KIB_IN_GIB * 98 // 100}Ki"}
    shared = {"hugepages-1Gi": "0", "hugepages-2Mi": "0", "pods": str(machine.pods), **resources}
    ready = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    return {
        "capacity": {**capacity, "ephemeral-storage": f"{machine.disk * KIB_IN_GIB}Ki", **shared},
        "allocatable": {
            "cpu": f"{left['cpu']}m" if left["cpu"] % 1000 else str(machine.cpu),
            "memory": f"{left['memory']}Ki",
            "ephemeral-storage": str(left["disk"] * 1024),  # the kubelet writes this one in bytes
            **shared,
        },
        "conditions": [{"type": one, "status": str(one == "Ready")} for one in ready],
        "nodeInfo": {
            "architecture": machine.arch,
            "operatingSystem": "linux",
            "osImage": "Ubuntu 24.04.3 LTS",
            "kernelVersion": "6.8.0-85-generic",
            "kubeletVersion": "v1.36.3",
            "containerRuntimeVersion": "containerd://2.4.2",
        },
    }


def taint(text: str) -> Labels:
    """``key=value:effect`` as the object has it."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def node(name: str, machine: Machine, labels: Labels, resources: Labels) -> Node:
    """The whole object: ``labels`` beside the kubelet's own, ``resources`` of device plugins."""
    arch, zone = machine.arch, machine.zone
    base = {"beta.kubernetes.io/arch": arch, "beta.kubernetes.io/os": "linux"}
    base |= {"kubernetes.io/arch": arch, "kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    base |= {"node.kubernetes.io/instance-type": machine.instance} if machine.instance else {}
    if zone:
        region = zone.rstrip("abcdef").rstrip("-") if zone[-1].isalpha() else zone.rpartition("-")[0]
        base |= {"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": region}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": dict(sorted((base | labels).items()))},
        "spec": {"taints": [taint(one) for one in machine.taints]} if machine.taints else {},
        "status": _status(machine, resources),
    }
