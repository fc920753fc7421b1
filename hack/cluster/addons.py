"""What the cluster holds from the start: DNS, storage class, metrics; called by up.py.

Builders of Kubernetes objects, and their apply through kubectl.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from hack.cluster import layout

Object = dict[str, Any]
SYSTEM = "kube-system"
RBAC = "rbac.authorization.k8s.io"
DNS_IMAGE = "docker.io/slipway/coredns"
DNS_LABELS = {"k8s-app": "kube-dns"}


def kubectl() -> str:
    """The pinned kubectl of the virtual environment."""
    return str(layout.VENV / "bin" / "kubectl")


def apply(kubeconfig: Path, objects: list[Object]) -> None:
    """Server-side apply of the objects; raises OSError with kubectl's words."""
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    command = [
        kubectl(), f"--kubeconfig={kubeconfig}", "apply", "--server-side", "--force-conflicts",
        "--field-manager=slipway-cluster", "-f", "-",
    ]  # fmt: skip
    done = subprocess.run(
        command, input=json.dumps(listed), capture_output=True, text=True, check=False,
        env=layout.child_environment(),
    )  # fmt: skip
    if done.returncode:
        raise OSError(f"kubectl apply of the cluster's own objects: {done.stderr.strip()}")


def _meta(name: str, namespace: str = "", **more: Any) -> Object:
    return {"name": name, **({"namespace": namespace} if namespace else {}), **more}


def _binding(name: str, role: str, user: str) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _meta(name),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }


def storage() -> list[Object]:
    """The default StorageClass and the provisioner's rights."""
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": _meta(
                "local-path", annotations={"storageclass.kubernetes.io/is-default-class": "true"}
            ),
            "provisioner": "slipway.dev/local-path",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
        },
        _binding("slipway:volumes", "system:persistent-volume-provisioner", "slipway:volumes"),
    ]


def corefile(*, forward: bool) -> str:
    """CoreDNS's configuration; names beyond the cluster go to the machine's name servers, if it has any."""
    beyond = "    forward . /etc/resolv.conf\n    loop\n" if forward else ""
    return f""".:5353 {{
    errors
    health :8080 {{
        lameduck 2s
    }}
    ready :8181
    kubernetes {layout.DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
{beyond}    cache 5
    reload
}}
"""


def dns(image: str, *, forward: bool) -> list[Object]:
    """CoreDNS: Deployment, Service at its fixed address, configuration and rights."""
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    binding = _binding("system:coredns", "system:coredns", "")
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "coredns", "namespace": SYSTEM}]
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta("coredns", SYSTEM)},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": _meta("system:coredns"),
            "rules": rules,
        },
        binding,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _meta("coredns", SYSTEM),
            "data": {"Corefile": corefile(forward=forward)},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta("kube-dns", SYSTEM, labels=DNS_LABELS),
            "spec": {
                "clusterIP": layout.DNS_SERVICE_IP,
                "selector": DNS_LABELS,
                "ports": [
                    {"name": name, "protocol": protocol, "port": 53, "targetPort": 5353}
                    for name, protocol in ports
                ],
            },
        },
        _dns_deployment(image),
    ]


def _dns_deployment(image: str) -> Object:
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "coredns",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {"requests": {"cpu": "50m", "memory": "40Mi"}, "limits": {"memory": "170Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 2},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 30},
        "securityContext": security,
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta("coredns", SYSTEM, labels=DNS_LABELS),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": DNS_LABELS},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": DNS_LABELS},
                "spec": {
                    "serviceAccountName": "coredns",
                    "priorityClassName": "system-cluster-critical",
                    "dnsPolicy": "Default",
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [container],
                    "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
                },
            },
        },
    }


def metrics(authority: str) -> list[Object]:
    """The metrics API, answered by a program on the node; ``authority`` is the CA's certificate in base64."""
    user, name = "slipway:metrics-server", "metrics-server"
    reader = _binding("slipway:metrics-server-auth", "", user)
    reader |= {
        "kind": "RoleBinding",
        "metadata": _meta("metrics-server-auth-reader", SYSTEM),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
    }
    rules = [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
    ]
    aggregate = {f"{RBAC}/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")}
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": _meta(user), "rules": rules},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": _meta("system:aggregated-metrics-reader", labels=aggregate),
            "rules": [
                {
                    "apiGroups": ["metrics.k8s.io"],
                    "resources": ["pods", "nodes"],
                    "verbs": ["get", "list", "watch"],
                }
            ],
        },
        _binding(user, user, user),
        _binding(f"{user}:auth-delegator", "system:auth-delegator", user),
        reader,
        *_metrics_service(name, authority),
    ]


def _metrics_service(name: str, authority: str) -> list[Object]:
    port = layout.PORTS["metrics-server"]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta(name, SYSTEM),
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": _meta(f"{name}-node", SYSTEM, labels={"kubernetes.io/service-name": name}),
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [layout.NODE_IP], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": _meta("v1beta1.metrics.k8s.io"),
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"name": name, "namespace": SYSTEM},
                "caBundle": authority,
            },
        },
    ]
