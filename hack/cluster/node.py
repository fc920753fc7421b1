"""The one node's programs and configuration files; called by up.py.

Builders only: they return texts and command lines; cluster.py writes and starts them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hack.cluster import host, layout, pki
from hack.cluster.components import ControlPlaneFiles, Program

CNI_BINARIES = ("/usr/lib/cni", "/opt/cni/bin")
SANDBOX_IMAGE = "docker.io/slipway/pause:local"


def certify(files: ControlPlaneFiles) -> None:
    """Make the node's certificates and kubeconfigs unless they are there."""
    ca = pki.pair(files.pki, "ca")
    hosts = (layout.NODE_IP, layout.NODE_NAME)
    clients = {
        "kubelet": pki.Identity(f"system:node:{layout.NODE_NAME}", ("system:nodes",), hosts),
        "kube-proxy": pki.Identity("system:kube-proxy"),
        "volumes": pki.Identity("slipway:volumes"),
        "metrics-server": pki.Identity(
            "slipway:metrics-server", hosts=(*hosts, "metrics-server.kube-system.svc")
        ),
    }
    for name, pair in pki.issue_all(files.pki, ca, list(clients.items())).items():
        pki.kubeconfig(files.kubeconfig(name), files.url, ca.cert, pair)


def containerd_config() -> str:
    """Configuration of containerd: CRI only, network namespaces below its own state directory."""
    node = layout.NODE
    # Without CAP_SYS_RESOURCE, as in many containers and virtual machines, lowering the OOM score fails.
    return f"""version = 3
root = "{node.containerd_root}"
state = "{node.containerd_run}"

[grpc]
  address = "{node.socket}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{SANDBOX_IMAGE}"

[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{node.registries}"

[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.internal.v1.opt"]
  path = "{node.containerd_root}/opt"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = {json.dumps(CNI_BINARIES)}
  conf_dir = "{node.cni}"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{layout.RUN}/runc"
"""


def registry_config() -> str:
    """How containerd reaches the registry of artifacts: without TLS, which it would ask for elsewhere."""
    address = "http://{}:{}".format(*layout.REGISTRY)
    return f"""server = "{address}"

[host."{address}"]
  capabilities = ["pull", "resolve"]
"""


def cni_config() -> str:
    """Each pod on a routed link: packets between pods pass the node, so Services work among them."""
    plugins: list[dict[str, Any]] = [
        {
            "type": "ptp",
            "mtu": 1400,
            "ipam": {
                "type": "host-local",
                "dataDir": str(layout.NODE.addresses),
                "ranges": [[{"subnet": layout.POD_CIDR}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ]
    return json.dumps({"cniVersion": "1.0.0", "name": "slipway", "plugins": plugins}, indent=2)


def kubelet_config(files: ControlPlaneFiles) -> str:
    """The kubelet's configuration: serves on the node's address only, keeps every imported image."""
    return _yaml({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.NODE_IP,
        "port": layout.PORTS["kubelet"],
        "healthzBindAddress": layout.NODE_IP,
        "healthzPort": layout.PORTS["kubelet-health"],
        "readOnlyPort": 0,
        **_kubelet_security(files),
        "containerRuntimeEndpoint": f"unix://{layout.NODE.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [layout.DNS_SERVICE_IP],
        "clusterDomain": layout.DNS_DOMAIN,
        "resolvConf": str(layout.NODE.etc / "resolv.conf"),
        "maxPods": 250,
        "serializeImagePulls": False,
        # Images come by import, not from a registry: one that was collected could not be had again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "2Gi",
            "nodefs.inodesFree": "2%",
            "imagefs.available": "2Gi",
        },
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "30s",
        "shutdownGracePeriod": "0s",
        "podLogsDir": str(layout.NODE.kubelet / "pod-logs"),
        "volumePluginDir": str(layout.NODE.kubelet / "volume-plugins"),
        "registerWithTaints": [],
        "rotateCertificates": False,
        # kube-proxy uses nftables: without this the kubelet leaves iptables chains behind.
        "makeIPTablesUtilChains": False,
    })  # fmt: skip


def _kubelet_security(files: ControlPlaneFiles) -> dict[str, Any]:
    """Who may ask the kubelet, and with what it answers."""
    own = pki.pair(files.pki, "kubelet")
    return {
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.pair(files.pki, "ca").cert)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(own.cert),
        "tlsPrivateKeyFile": str(own.key),
    }


def proxy_config(files: ControlPlaneFiles) -> str:
    """kube-proxy's configuration: nftables, node ports on the node's address only."""
    return _yaml({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(files.kubeconfig("kube-proxy"))},
        "hostnameOverride": layout.NODE_NAME,
        "bindAddress": layout.NODE_IP,
        "healthzBindAddress": f"{layout.NODE_IP}:{layout.PORTS['kube-proxy-health']}",
        "metricsBindAddress": f"{layout.NODE_IP}:{layout.PORTS['kube-proxy-metrics']}",
        "nodePortAddresses": [f"{layout.NODE_IP}/32"],
        "clusterCIDR": layout.POD_CIDR,
        # The kernel's table may be another's to size; 0 leaves it alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })  # fmt: skip


def resolv_conf(machine: str) -> str:
    """The name servers for DNS beyond the cluster: the machine's, less those on its own loopback."""
    kept = []
    for line in machine.splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[0] == "nameserver" and not fields[1].startswith(("127.", "::1")):
            kept.append(f"nameserver {fields[1]}\n")
    return "".join(kept)


def configuration(files: ControlPlaneFiles) -> dict[Path, str]:
    """Every configuration file of the node with its text."""
    node = layout.NODE
    try:
        machine = Path("/etc/resolv.conf").read_text()
    except OSError:
        machine = ""
    return {
        node.etc / "containerd.toml": containerd_config(),
        node.registries / "{}:{}".format(*layout.REGISTRY) / "hosts.toml": registry_config(),
        node.cni / "10-slipway.conflist": cni_config(),
        node.etc / "kubelet.yaml": kubelet_config(files),
        node.etc / "kube-proxy.yaml": proxy_config(files),
        node.etc / "resolv.conf": resolv_conf(machine),
    }


def containerd(binaries: Mapping[str, Path]) -> Program:
    """The container runtime; it finds its shim and runc on the PATH."""
    command = (str(binaries["containerd"]), "--config", str(layout.NODE.etc / "containerd.toml"))
    shim = binaries["containerd-shim-runc-v2"].parent
    path = f"{shim}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return Program("containerd", command, (("PATH", path), _stamp(containerd_config())))


def kubelet(files: ControlPlaneFiles) -> Program:
    """The node's agent."""
    command = (
        str(files.binaries["kubelet"]), f"--config={layout.NODE.etc / 'kubelet.yaml'}",
        f"--kubeconfig={files.kubeconfig('kubelet')}", f"--root-dir={layout.NODE.kubelet}",
        f"--hostname-override={layout.NODE_NAME}", f"--node-ip={layout.NODE_IP}",
        f"--cert-dir={files.pki}",
    )  # fmt: skip
    ready = f"http://{layout.NODE_IP}:{layout.PORTS['kubelet-health']}/healthz"
    return Program("kubelet", command, (_stamp(kubelet_config(files)),), ready)


def proxy(files: ControlPlaneFiles) -> Program:
    """Makes Services reachable, by nftables rules."""
    command = (str(files.binaries["kube-proxy"]), f"--config={layout.NODE.etc / 'kube-proxy.yaml'}")
    ready = f"http://{layout.NODE_IP}:{layout.PORTS['kube-proxy-health']}/healthz"
    return Program("kube-proxy", command, (_stamp(proxy_config(files)),), ready)


def volumes(files: ControlPlaneFiles) -> Program:
    """Provisions PersistentVolumes as directories."""
    command = (
        str(files.binaries["volumes"]), f"--kubeconfig={files.kubeconfig('volumes')}",
        f"--root={layout.VOLUMES}",
    )  # fmt: skip
    return Program("volumes", command)


def metrics_server(files: ControlPlaneFiles) -> Program:
    """Answers the resource metrics API from the kubelet's figures; for autoscaling and ``kubectl top``."""
    config, own, ca = (
        files.kubeconfig("metrics-server"),
        pki.pair(files.pki, "metrics-server"),
        pki.pair(files.pki, "ca"),
    )
    command = (
        str(files.binaries["metrics-server"]), f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
        f"--bind-address={layout.NODE_IP}", f"--secure-port={layout.PORTS['metrics-server']}",
        f"--tls-cert-file={own.cert}", f"--tls-private-key-file={own.key}",
        f"--kubelet-certificate-authority={ca.cert}", "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=10s", "--kubelet-request-timeout=5s",
    )  # fmt: skip
    ready = f"https://{layout.NODE_IP}:{layout.PORTS['metrics-server']}/readyz"
    return Program("metrics-server", command, ready=ready)


def _stamp(text: str) -> tuple[str, str]:
    """A variable that changes with a program's configuration file, so that supervisord starts it again."""
    return "SLIPWAY_CONFIGURATION", hashlib.sha256(text.encode()).hexdigest()[:12]


def cgroups() -> list[Path]:
    """The directories of the pods' cgroup, one a hierarchy."""
    return [root / layout.CGROUP for root in host.cgroup_roots()]


def _yaml(value: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False)
    return text
