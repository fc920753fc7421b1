"""Where the local cluster keeps things and which addresses it uses; every other module here reads this one.

One cluster per machine, so its directories are fixed: what another checkout left is found in the same place.
All addresses lie in 198.18.0.0/15, the range that RFC 2544 reserves for benchmarks: no real network uses it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
LOCAL = CHECKOUT / ".cluster"
KUBECONFIG = LOCAL / "kubeconfig"
LOGS = LOCAL / "log"
VENV = CHECKOUT / ".venv"

STATE = Path("/var/lib/slipway-cluster")
RUN = Path("/run/slipway-cluster")
OWNER = STATE / "owner.json"
PKI = STATE / "pki"
VOLUMES = STATE / "volumes"
PROGRAMS = STATE / "programs.d"

# The mark that every process of the cluster carries in its environment, with the checkout as value.
MARK = "SLIPWAY_CLUSTER"
# The cgroup below which all pods live.
CGROUP = "slipway"

BRIDGE = "slipway0"
NODE_NAME = "slipway"
NODE_IP = "198.18.0.1"
NODE_PREFIX = 24
ALL_CIDR = "198.18.0.0/15"
POD_CIDR = "198.18.64.0/18"
SERVICE_CIDR = "198.19.0.0/16"
API_SERVICE_IP = "198.19.0.1"
DNS_SERVICE_IP = "198.19.0.10"
DNS_DOMAIN = "cluster.local"

PORTS = {
    "etcd": 2379,
    "etcd-peer": 2380,
    "kube-apiserver": 6443,
    "kubelet": 10250,
    "kubelet-health": 10248,
    "kube-proxy-metrics": 10249,
    "kube-proxy-health": 10256,
    "kube-controller-manager": 10257,
    "kube-scheduler": 10259,
    "metrics-server": 10443,
}
# The model hub, a guest beside the cluster: for everybody, and for whoever tells it to fail.
HUB = (NODE_IP, 8090)
HUB_ADMIN = ("127.0.0.1", 8091)
# A registry for artifacts, while a test runs one: nodes pull from it by HTTP.
REGISTRY = (NODE_IP, 8095)


@dataclass(frozen=True)
class Node:
    """The node's files: what the container runtime and the kubelet own."""

    containerd_root: Path = STATE / "containerd"
    containerd_run: Path = RUN / "containerd"
    socket: Path = RUN / "containerd" / "containerd.sock"
    kubelet: Path = STATE / "kubelet"
    etc: Path = STATE / "etc"
    cni: Path = STATE / "etc" / "cni"
    registries: Path = STATE / "etc" / "registries"
    addresses: Path = STATE / "cni-addresses"


NODE = Node()


def cache_root() -> Path:
    """The directory outside the checkout for what is expensive to make, keyed by its inputs."""
    chosen = os.environ.get("SLIPWAY_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "slipway"


def child_environment(**extra: str) -> dict[str, str]:
    """The environment for the cluster's programs: ours without proxies, which must see no cluster traffic."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {**kept, **extra}


def write(path: Path, text: str) -> bool:
    """Write the file unless it says so already; returns whether it changed."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return True
