"""The command lines of etcd and the Kubernetes control plane; called by controlplane.py and cluster.py.

Pure apart from the certificates it has made: given directories, addresses and ports, it says what to run. The
same commands serve the bare control plane of the API tests and the whole local cluster.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import layout, pki


@dataclass(frozen=True)
class Program:
    """One program to run: its arguments and the URL that says that it is ready."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    ready: str = ""


@dataclass(frozen=True)
class ControlPlaneFiles:
    """One control plane: where it listens, where its files lie and which binaries it runs."""

    directory: Path
    host: str
    ports: Mapping[str, int]
    binaries: Mapping[str, Path]
    on_node: bool = False  # a kubelet and kube-proxy belong to it

    @property
    def pki(self) -> Path:
        """The directory of keys, certificates and kubeconfigs."""
        return self.directory / "pki"

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{self.host}:{self.ports['kube-apiserver']}"

    @property
    def etcd_url(self) -> str:
        """The URL at which etcd serves its clients."""
        return f"https://{self.host}:{self.ports['etcd']}"

    def kubeconfig(self, name: str) -> Path:
        """The kubeconfig of one identity, such as ``admin``."""
        return self.pki / f"{name}.kubeconfig"


def _hosts(files: ControlPlaneFiles) -> tuple[str, ...]:
    service = "kubernetes.default.svc"
    names = ("kubernetes", "kubernetes.default", service, f"{service}.{layout.DNS_DOMAIN}", "localhost")
    return (*dict.fromkeys((files.host, "127.0.0.1", layout.API_SERVICE_IP, *names)),)


def certify(files: ControlPlaneFiles) -> None:
    """Make whatever keys, certificates and kubeconfigs are not there yet."""
    ca = pki.authority(files.pki, "ca")
    front = pki.authority(files.pki, "front-proxy-ca")
    hosts = _hosts(files)
    pki.issue_all(files.pki, ca, [
        ("etcd", pki.Identity("etcd", hosts=hosts)),
        ("apiserver", pki.Identity("kube-apiserver", hosts=hosts)),
        ("controller-manager", pki.Identity("system:kube-controller-manager", hosts=hosts)),
        ("scheduler", pki.Identity("system:kube-scheduler", hosts=hosts)),
        ("apiserver-kubelet", pki.Identity("kube-apiserver-kubelet-client", ("system:masters",))),
        ("admin", pki.Identity("slipway-admin", ("system:masters",))),
    ])  # fmt: skip
    pki.issue(files.pki, "front-proxy", front, pki.Identity("front-proxy-client"))
    pki.token_key(files.pki)
    for name in ("admin", "controller-manager", "scheduler"):
        pki.kubeconfig(files.kubeconfig(name), files.url, ca.cert, pki.pair(files.pki, name))


@functools.cache
def etcd_binary() -> str:
    """Debian's etcd; raises FileNotFoundError with what to do when it is missing."""
    found = shutil.which("etcd", path="/usr/bin:/usr/local/bin:/bin")
    if not found:
        raise FileNotFoundError("etcd is missing: run hack/bootstrap.sh (or: apt-get install etcd-server)")
    return found


@functools.cache
def _etcd_skips_fsync() -> bool:
    """Whether this etcd can leave out fsync (3.5 and later): nothing here must survive a power cut."""
    said = subprocess.run([etcd_binary(), "--help"], capture_output=True, text=True, check=False)
    return "unsafe-no-fsync" in said.stdout + said.stderr


def etcd(files: ControlPlaneFiles) -> Program:
    """One etcd member, clients and peers by TLS with certificates only."""
    pair, ca = pki.pair(files.pki, "etcd"), pki.pair(files.pki, "ca")
    peer = f"https://{files.host}:{files.ports['etcd-peer']}"
    command = [
        etcd_binary(), "--name=slipway", f"--data-dir={files.directory / 'etcd'}",
        f"--listen-client-urls={files.etcd_url}", f"--advertise-client-urls={files.etcd_url}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=slipway={peer}", f"--cert-file={pair.cert}", f"--key-file={pair.key}",
        "--client-cert-auth", f"--trusted-ca-file={ca.cert}", f"--peer-cert-file={pair.cert}",
        f"--peer-key-file={pair.key}", "--peer-client-cert-auth", f"--peer-trusted-ca-file={ca.cert}",
        "--auto-compaction-retention=1", "--quota-backend-bytes=4294967296", "--log-level=warn",
        "--logger=zap",
    ]  # fmt: skip
    if _etcd_skips_fsync():
        command.append("--unsafe-no-fsync")
    # etcd 3.4 runs on arm64 only when told so.
    return Program("etcd", tuple(command), (("ETCD_UNSUPPORTED_ARCH", "arm64"),), f"{files.etcd_url}/health")


def apiserver(files: ControlPlaneFiles) -> Program:
    """The API server: RBAC and the node authorizer, Pod Security admission, aggregation."""
    own, etcd_client, ca = (pki.pair(files.pki, name) for name in ("apiserver", "etcd", "ca"))
    kubelet, front = pki.pair(files.pki, "apiserver-kubelet"), pki.pair(files.pki, "front-proxy")
    tokens = pki.pair(files.pki, "service-account")
    command = [
        str(files.binaries["kube-apiserver"]), f"--etcd-servers={files.etcd_url}",
        f"--etcd-cafile={ca.cert}", f"--etcd-certfile={etcd_client.cert}",
        f"--etcd-keyfile={etcd_client.key}",
        f"--bind-address={files.host}", f"--secure-port={files.ports['kube-apiserver']}",
        f"--advertise-address={layout.NODE_IP}", f"--service-cluster-ip-range={layout.SERVICE_CIDR}",
        f"--tls-cert-file={own.cert}", f"--tls-private-key-file={own.key}", f"--client-ca-file={ca.cert}",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--service-account-key-file={tokens.cert}", f"--service-account-signing-key-file={tokens.key}",
        f"--service-account-issuer=https://kubernetes.default.svc.{layout.DNS_DOMAIN}",
        f"--kubelet-client-certificate={kubelet.cert}", f"--kubelet-client-key={kubelet.key}",
        f"--kubelet-certificate-authority={ca.cert}", "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki.pair(files.pki, 'front-proxy-ca').cert}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-", f"--proxy-client-cert-file={front.cert}",
        f"--proxy-client-key-file={front.key}", "--allow-privileged=true", "--profiling=false",
        # Debian's etcd 3.4 can't stream lists: kwok's watches, which begin at version 0, would fail.
        "--feature-gates=WatchList=false",
    ]  # fmt: skip
    if not files.on_node:
        # Its address is loopback, which an endpoint must not be.
        command.append("--endpoint-reconciler-type=none")
    return Program("kube-apiserver", tuple(command), ready=f"{files.url}/readyz")


def _delegated(files: ControlPlaneFiles, name: str, program: str) -> list[str]:
    own, config = pki.pair(files.pki, name), files.kubeconfig(name)
    return [
        str(files.binaries[program]), f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}", f"--bind-address={files.host}",
        f"--secure-port={files.ports[program]}", f"--tls-cert-file={own.cert}",
        f"--tls-private-key-file={own.key}", "--leader-elect=false", "--profiling=false",
        "--kube-api-qps=200", "--kube-api-burst=400",
    ]  # fmt: skip


def controller_manager(files: ControlPlaneFiles) -> Program:
    """All of Kubernetes' own controllers; one instance, so without a leader's lease."""
    ca, tokens = pki.pair(files.pki, "ca"), pki.pair(files.pki, "service-account")
    command = [
        *_delegated(files, "controller-manager", "kube-controller-manager"),
        f"--root-ca-file={ca.cert}", f"--service-account-private-key-file={tokens.key}",
        f"--cluster-signing-cert-file={ca.cert}", f"--cluster-signing-key-file={ca.key}",
        "--use-service-account-credentials=true", f"--cluster-cidr={layout.POD_CIDR}",
        "--horizontal-pod-autoscaler-sync-period=5s",
    ]  # fmt: skip
    ready = f"https://{files.host}:{files.ports['kube-controller-manager']}/healthz"
    return Program("kube-controller-manager", tuple(command), ready=ready)


def scheduler(files: ControlPlaneFiles) -> Program:
    """The scheduler; one instance, so without a leader's lease."""
    command = _delegated(files, "scheduler", "kube-scheduler")
    ready = f"https://{files.host}:{files.ports['kube-scheduler']}/readyz"
    return Program("kube-scheduler", tuple(command), ready=ready)
