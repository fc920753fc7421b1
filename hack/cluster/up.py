"""Brings the local cluster up, step by step, and says what it does; called by cluster.py.

Every step looks first and does only what is missing: the second call is quick, a broken cluster heals.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import time
from collections.abc import Callable
from pathlib import Path

from hack.cluster import (
    addons,
    components,
    host,
    images,
    layout,
    network,
    node,
    pki,
    probe,
    remains,
    running,
    supervise,
    tools,
)
from hack.cluster.components import ControlPlaneFiles, Program

PROGRAMS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet",
    "kube-proxy", "volumes",
)  # fmt: skip
BINARIES = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd",
    "containerd-shim-runc-v2", "ctr", "coredns", "volumes", "helm",
)  # fmt: skip
READY_S = 90.0
Say = Callable[[str], None]


class ClusterError(Exception):
    """The cluster can't be brought up; the message says what is wrong and what to do."""


def plan(*, metrics: bool) -> ControlPlaneFiles:
    """The cluster's files, with every binary built."""
    wanted = [*BINARIES, *(["metrics-server"] if metrics else [])]
    return ControlPlaneFiles(layout.STATE, layout.NODE_IP, layout.PORTS, tools.ensure(wanted), on_node=True)


def shape() -> str:
    """Changes with whatever a running cluster can't change: then a new one takes its place."""
    fixed = (layout.NODE_IP, layout.POD_CIDR, layout.SERVICE_CIDR, layout.PORTS, layout.NODE_NAME, "1")
    return hashlib.sha256(repr(fixed).encode()).hexdigest()[:12]


def programs(files: ControlPlaneFiles, *, metrics: bool) -> list[Program]:
    """All programs of the cluster in the order of starting."""
    made = [
        components.etcd(files), components.apiserver(files), components.controller_manager(files),
        components.scheduler(files), node.containerd(files.binaries), node.kubelet(files),
        node.proxy(files), node.volumes(files),
    ]  # fmt: skip
    return [*made, node.metrics_server(files)] if metrics else made


def had_metrics() -> bool:
    """Whether this checkout's cluster was started with metrics-server: its API must not lose its program."""
    owner = remains.read_owner()
    if not owner or not owner.ours or not supervise.CONFIG.exists():
        return False
    return "[program:metrics-server]" in supervise.CONFIG.read_text()


def own(say: Say) -> None:
    """Make this machine's cluster ours: take over what another checkout or an older version left."""
    owner = remains.read_owner()
    if owner and owner.ours and owner.shape == shape():
        if owner.boot != host.boot_id():
            say("the machine was rebooted: starting the cluster again with its data")
            remains.write_owner(remains.new_owner(shape()))
        return
    found = remains.find()
    if found:
        say(f"taking over what the cluster of {origin(owner)} left: {'; '.join(found.describe())}")
        remains.clear(found, owner, say)
    clashes = network.foreign_addresses()
    if clashes:
        raise ClusterError(
            f"{', '.join(clashes)}, inside the cluster's range {layout.ALL_CIDR}: remove it first"
        )
    remains.write_owner(remains.new_owner(shape()))


def origin(owner: remains.Owner | None) -> str:
    """Whose cluster it was, for a person."""
    if not owner:
        return "an unknown checkout"
    if not owner.ours:
        return f"the checkout {owner.checkout}"
    if owner.shape == remains.ENDING:
        return "this checkout, half ended,"
    return "an older version of this checkout"


def check_ports() -> None:
    """Refuse to start when somebody else holds one of the ports; names port and process."""
    names = {port: name for name, port in layout.PORTS.items()}
    if taken := host.strangers(names, frozenset({layout.NODE_IP}), layout.MARK):
        raise ClusterError(f"{'; '.join(taken)}: end it first")


def prepare(files: ControlPlaneFiles) -> None:
    """Make directories, certificates and configuration files."""
    for path in (layout.LOGS, layout.RUN, layout.PROGRAMS, layout.NODE.containerd_run, layout.NODE.kubelet):
        path.mkdir(parents=True, exist_ok=True)
    layout.STATE.chmod(0o711)
    layout.RUN.chmod(0o700)
    components.certify(files)
    node.certify(files)
    for path, text in node.configuration(files).items():
        layout.write(path, text)
    prepare_cgroups()
    pki.kubeconfig(layout.KUBECONFIG, files.url, pki.pair(files.pki, "ca").cert, pki.pair(files.pki, "admin"))
    link_tools(files)


def prepare_cgroups() -> None:
    """Make the pods' cgroup in every hierarchy; the kubelet expects it there with its controllers on."""
    for path in node.cgroups():
        path.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 gives a new cpuset nothing
            own_set, parent = path / name, path.parent / name
            if host.cgroup_version() == 1 and own_set.exists() and not own_set.read_text().strip():
                own_set.write_text(parent.read_text())
        if host.cgroup_version() == 2:  # noqa: PLR2004 - the version's number
            enable = " ".join(f"+{name}" for name in (path.parent / "cgroup.controllers").read_text().split())
            (path.parent / "cgroup.subtree_control").write_text(enable)
            (path / "cgroup.subtree_control").write_text(enable)


def link_tools(files: ControlPlaneFiles) -> None:
    """Links in .cluster/bin, so that a person can put one directory on the PATH."""
    folder = layout.LOCAL / "bin"
    folder.mkdir(exist_ok=True)
    links = {name: files.binaries[name] for name in ("helm", "ctr")} | {"kubectl": Path(addons.kubectl())}
    for name, target in links.items():
        link = folder / name
        if link.is_symlink() and link.readlink() == target:
            continue
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def load_images(files: ControlPlaneFiles, say: Say) -> str:
    """Import the cluster's own images; returns CoreDNS's name."""
    store = images.Store(files.binaries["ctr"])
    dns = f"{addons.DNS_IMAGE}:{files.binaries['coredns'].parent.name}"
    present = store.present()
    for name, build in (
        (node.SANDBOX_IMAGE, images.pause),
        (dns, lambda: images.coredns(files.binaries["coredns"], dns)),
    ):
        if name not in present:
            say(f"importing {name}")
            store.load(build())
    return dns


def fill(files: ControlPlaneFiles, dns_image: str, *, metrics: bool) -> None:
    """Apply the cluster's own objects."""
    forward = bool((layout.NODE.etc / "resolv.conf").read_text())
    objects = [*addons.storage(), *addons.dns(dns_image, forward=forward)]
    if metrics:
        authority = base64.b64encode(pki.pair(files.pki, "ca").cert.read_bytes()).decode()
        objects += addons.metrics(authority)
    addons.apply(files.kubeconfig("admin"), objects)


def node_ready(files: ControlPlaneFiles, client: probe.Client) -> bool:
    """Whether the node is registered and says that it is ready."""
    status, body = client.request("GET", f"{files.url}/api/v1/nodes/{layout.NODE_NAME}")
    return status == http.client.OK and b'"type":"Ready","status":"True"' in body.replace(b" ", b"")


def wait_ready(files: ControlPlaneFiles, client: probe.Client, say: Say) -> None:
    """Wait for the node and for DNS."""
    explain = f"  log: {layout.LOGS}/kubelet.log\n"
    probe.wait(
        f"node {layout.NODE_NAME}",
        lambda: _quiet(lambda: node_ready(files, client)),
        READY_S,
        lambda: explain + probe.tail(layout.LOGS / "kubelet.log"),
    )
    name = f"kubernetes.default.svc.{layout.DNS_DOMAIN}"
    seconds = probe.wait("DNS", lambda: probe.resolves(layout.DNS_SERVICE_IP, name), READY_S, _why_dns)
    if seconds > 1:
        say(f"node and DNS are ready after {seconds:.1f} s")


def wait_metrics(files: ControlPlaneFiles, client: probe.Client) -> None:
    """Wait until the metrics API knows the node, which takes two of metrics-server's rounds."""
    url = f"{files.url}/apis/metrics.k8s.io/v1beta1/nodes/{layout.NODE_NAME}"
    log = layout.LOGS / "metrics-server.log"
    probe.wait(
        "the metrics API", lambda: client.ready(url), READY_S, lambda: f"  log: {log}\n{probe.tail(log)}"
    )


def _why_dns() -> str:
    return f"  see: {addons.kubectl()} --kubeconfig {layout.KUBECONFIG} -n {addons.SYSTEM} describe pods"


def _quiet(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except (OSError, ValueError):
        return False


def up(say: Say, *, metrics: bool = False) -> float:
    """Bring the cluster up or heal it; returns the seconds. Raises ClusterError or NotReadyError."""
    started = time.monotonic()
    files = plan(metrics=metrics)
    own(say)
    check_ports()
    prepare(files)
    network.up()
    client = probe.Client(files.pki)
    wanted = programs(files, metrics=metrics)
    running.run_supervisor(wanted, say)
    running.run_programs(wanted[:5], client, say)
    dns_image = load_images(files, say)
    running.run_programs(wanted[5:8], client, say)
    fill(files, dns_image, metrics=metrics)
    running.run_programs(wanted[8:], client, say)  # metrics-server needs the rights that were just applied
    wait_ready(files, client, say)
    if metrics:
        wait_metrics(files, client)
    return time.monotonic() - started
