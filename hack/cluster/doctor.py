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
DISK_BYTES = 15 * 2**30
MEMORY_BYTES = 6 * 2**30


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
    free = shutil.disk_usage("/var/lib").free
    memory = _memory()
    return [
        Finding(
            bool(missing),
            f"missing: {', '.join(missing)}" if missing else "programs from Debian",
            "run hack/bootstrap.sh",
        ),
        Finding(
            free < DISK_BYTES, f"{free / 2**30:.0f} GiB free below /var/lib", "15 GiB are needed: make room"
        ),
        Finding(memory < MEMORY_BYTES, f"{memory / 2**30:.0f} GiB memory available", "6 GiB are needed"),
        Finding(bad=False, seen=f"cgroup version {host.cgroup_version()}"),
        *_ports(),
    ]


def _memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _ports() -> list[Finding]:
    names = {port: name for name, port in layout.PORTS.items()}
    found = []
    for held in host.listeners(list(names), frozenset({layout.NODE_IP})):
        who = held.process
        if not who or not host.environment(who.pid).get(layout.MARK):
            holder = f"{who.command} (pid {who.pid})" if who else "a process that can't be seen"
            found.append(
                Finding(
                    bad=True, seen=f"port {held.port} ({names[held.port]}) is held by {holder}", do="end it"
                )
            )
    return found


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
