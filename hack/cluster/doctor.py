"""Says what is wrong with the machine or the cluster and what to do about it; called by cluster.py doctor."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import host, layout, network, node, probe, remains, supervise

COMMANDS = {
    "etcd": "etcd-server", "runc": "runc", "nft": "nftables", "conntrack": "conntrack", "ip": "iproute2",
    "catatonit": "catatonit", "buildah": "buildah", "mmdebstrap": "mmdebstrap",
}  # fmt: skip
DISK_GIB = 15  # from nothing: Go's caches 5, the images' store and archives 6, the cluster's data 3
DISK_BUILT_GIB = 6  # with all built: the cluster's data, and what the kubelet wants to stay free
MEMORY_GIB = 6


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is bad, what was seen, what to do."""

    bad: bool
    seen: str
    do: str = ""

    def __str__(self) -> str:
        return (
            f"{'WRONG' if self.bad else 'ok   '} {self.seen}{f' → {self.do}' if self.bad and self.do else ''}"
        )


def examine(unusable: str) -> list[Finding]:
    """Everything that was looked at; ``unusable`` is why the machine can't run a cluster, if it can't."""
    if unusable:
        return [Finding(bad=True, seen=unusable)]
    return [*machine(), *cluster()]


def machine() -> list[Finding]:
    """The machine's own state."""
    missing = [f"{name} (Debian: {package})" for name, package in COMMANDS.items() if not shutil.which(name)]
    plugins = any((Path(place) / "ptp").exists() for place in node.CNI_BINARIES)
    missing += [] if plugins else ["CNI plugins (Debian: containernetworking-plugins)"]
    return [
        Finding(
            bool(missing),
            f"missing: {', '.join(missing)}" if missing else "programs from Debian",
            "run hack/bootstrap.sh",
        ),
        Finding(bad=False, seen=f"cgroup version {host.cgroup_version()}"),
        *_resources(),
        *_ports(),
    ]


def before() -> list[Finding]:
    """What would stop the cluster after all was built, looked at before; quick, and nothing of it is changed.

    Disk and memory are judged only while no cluster runs, for it takes its part of both.
    """
    return [*([] if supervise.pid() else _resources()), *_ports(), *_addresses()]


def _resources() -> list[Finding]:
    built = any((layout.cache_root() / "images").glob("operator-*.tar"))
    disk, needed = shutil.disk_usage("/var/lib").free / 2**30, DISK_BUILT_GIB if built else DISK_GIB
    memory = _memory_gib()
    return [
        Finding(disk < needed, f"{disk:.0f} GiB free below /var/lib", f"{needed} GiB are needed: make room"),
        Finding(memory < MEMORY_GIB, f"{memory:.0f} GiB memory available", f"{MEMORY_GIB} GiB are needed"),
    ]


def _memory_gib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return 0


def _ports() -> list[Finding]:
    cluster = {port: name for name, port in layout.PORTS.items()}
    wanted = [(layout.NODE_IP, cluster)]
    wanted += [(address, {port: "the model hub"}) for address, port in (layout.HUB, layout.HUB_ADMIN)]
    return [
        Finding(bad=True, seen=line, do="end it first")
        for address, ports in wanted
        for line in host.strangers(ports, frozenset({address}), layout.MARK)
    ]


def _addresses() -> list[Finding]:
    return [
        Finding(bad=True, seen=f"{clash}, inside the cluster's range {layout.ALL_CIDR}", do="remove it first")
        for clash in network.foreign_addresses()
    ]


def cluster() -> list[Finding]:
    """The cluster's state."""
    owner = remains.read_owner()
    if owner is None:
        left = remains.find()
        if left:
            return [
                Finding(
                    bad=True,
                    seen=f"left by a cluster: {'; '.join(left.describe())}",
                    do="make cluster takes it over",
                )
            ]
        return [Finding(bad=False, seen="no cluster on this machine (make cluster starts one)")]
    if not owner.ours:
        return [
            Finding(
                bad=True, seen=f"the cluster belongs to {owner.checkout}", do="make cluster takes it over"
            )
        ]
    if owner.boot != host.boot_id():
        return [Finding(bad=True, seen="the machine was rebooted since the cluster ran", do="make cluster")]
    return [*_programs(), *_network(), *_api()]


def _programs() -> list[Finding]:
    states = supervise.states()
    if not states:
        return [Finding(bad=True, seen="supervisord does not answer", do="make cluster")]
    found = []
    for name, state in states.items():
        log = layout.LOGS / f"{name}.log"
        bad = state not in supervise.RUNNING
        found.append(Finding(bad, f"{name}: {state}", f"make cluster; its log: {log}\n{probe.tail(log, 4)}"))
    return found


def _network() -> list[Finding]:
    there = network.bridge() is not None and ("ip", network.TABLE) in network.tables()
    forwards = network.forwarding() == "1"
    return [
        Finding(not there, "bridge and address translation", "missing: make cluster"),
        Finding(not forwards, "packet forwarding", "it is off: make cluster"),
    ]


def _api() -> list[Finding]:
    client, base = probe.Client(layout.PKI), f"https://{layout.NODE_IP}:{layout.PORTS['kube-apiserver']}"
    try:
        conditions = client.get(f"{base}/api/v1/nodes/{layout.NODE_NAME}")["status"]["conditions"]
    except (OSError, KeyError) as error:
        return [
            Finding(
                bad=True, seen=f"API server: {error}", do=f"make cluster; {layout.LOGS}/kube-apiserver.log"
            )
        ]
    found = []
    for condition in conditions:
        bad = condition["status"] != ("True" if condition["type"] == "Ready" else "False")
        found.append(
            Finding(bad, f"node {condition['type']}={condition['status']}", condition.get("message", ""))
        )
    return found
