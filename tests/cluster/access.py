"""How the tests reach the cluster: kubectl for what a user does, plain HTTPS for the looks between.

A test looks at objects several times a second: a process for each look would take the cores from the tested.
"""

from __future__ import annotations

import base64
import functools
import http.client
import json
import os
import ssl
import subprocess
import tempfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".cluster/kubeconfig"
KUBECTL = str(ROOT / ".venv/bin/kubectl")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""For the cluster's own addresses, which no proxy knows."""
CORE = "/api/v1"
SLIPWAY = "/apis/slipway.dev/v1alpha1"
KINDS = {
    "mdl": (SLIPWAY, "modeldeployments"),
    "mart": (SLIPWAY, "modelartifacts"),
    "pods": (CORE, "pods"),
    "services": (CORE, "services"),
    "secrets": (CORE, "secrets"),
    "pvc": (CORE, "persistentvolumeclaims"),
    "nodes": (CORE, "nodes"),
    "namespaces": (CORE, "namespaces"),
    "jobs": ("/apis/batch/v1", "jobs"),
    "deploy": ("/apis/apps/v1", "deployments"),
    "controllerrevisions": ("/apis/apps/v1", "controllerrevisions"),
    "hpa": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "pdb": ("/apis/policy/v1", "poddisruptionbudgets"),
    "networkpolicies": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "endpointslices": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "leaderworkersets": ("/apis/leaderworkerset.x-k8s.io/v1", "leaderworkersets"),
    "leases": ("/apis/coordination.k8s.io/v1", "leases"),
}
"""Kind, as kubectl takes it, to where the API server has it."""
CHILDREN = "mart,jobs,pods,pvc,deploy,services,pdb,hpa,networkpolicies,controllerrevisions"
"""Every kind that Slipway makes."""


def verifying() -> bool:
    """Whether tests that this machine can't run were asked for: then the cluster may be another."""
    return bool(os.environ.get("SLIPWAY_VERIFY"))


def kubeconfig() -> str:
    """The local cluster's, or the environment's where SLIPWAY_VERIFY asks.

    Only there: the tests delete and install, and whoever runs them may have KUBECONFIG name something dear.
    """
    return (os.environ.get("KUBECONFIG") if verifying() else None) or str(LOCAL)


def environment() -> dict[str, str]:
    """The environment for kubectl and slipway."""
    return {**os.environ, "KUBECONFIG": kubeconfig()}


def run(*command: str, check: bool = True, stdin: str | None = None, timeout: float = 300) -> str:
    """Run a program against the cluster; returns stdout, fails with stderr."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, input=stdin, timeout=timeout, env=environment()
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


@dataclass(frozen=True)
class Server:
    """The API server and how it is spoken to; without a context only kubectl knows how."""

    url: urllib.parse.SplitResult
    context: ssl.SSLContext | None


def server() -> Server:
    """The API server of the kubeconfig as it is now: a cluster that is made anew has other keys."""
    files = [Path(part) for part in kubeconfig().split(os.pathsep)]
    return _server(tuple((str(path), path.stat().st_mtime_ns) for path in files if path.exists()))


@functools.lru_cache(maxsize=1)
def _server(_files: tuple[tuple[str, int], ...]) -> Server:
    config = json.loads(run(KUBECTL, "config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    url = urllib.parse.urlsplit(cluster.pop("server"))
    plain = set(cluster) == {"certificate-authority-data"}
    certified = set(user) == {"client-certificate-data", "client-key-data"}
    return Server(url, _context(cluster, user) if plain and certified else None)


def _context(cluster: dict[str, str], user: dict[str, str]) -> ssl.SSLContext:
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as pair:  # OpenSSL reads keys from files only
        pair.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
        pair.write(base64.b64decode(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context


def request(method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """One request to the API server; status and answer. Raises OSError when nobody answers."""
    to = server()
    if to.context is None:
        raise NotImplementedError("this kubeconfig has no client certificate: only reads, by kubectl")
    host, port = to.url.hostname or "", to.url.port or 443
    connection = http.client.HTTPSConnection(host, port, timeout=30, context=to.context)
    data = None if body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except http.client.HTTPException as error:
        raise OSError(f"{method} {path}: {error!r}") from error
    finally:
        connection.close()


def read(path: str) -> dict[str, Any]:
    """What the API server has at the path; empty when it is not there."""
    if server().context is None:
        out = run(KUBECTL, "get", "--raw", path, check=False)
        return dict(json.loads(out)) if out.strip() else {}
    status, found = request("GET", path)
    if status == http.client.NOT_FOUND:
        return {}
    assert status == http.client.OK, found
    return found


def path_of(kind: str, namespace: str, name: str = "", selector: str = "") -> str:
    """Path of a kind's list, or of one object; an empty namespace is all of them, or none."""
    group, plural = KINDS[kind]
    parts = [group, *(["namespaces", namespace] if namespace else []), plural, *([name] if name else [])]
    query = f"?{urllib.parse.urlencode({'labelSelector': selector})}" if selector else ""
    return "/".join(parts) + query
