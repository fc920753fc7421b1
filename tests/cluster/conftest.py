"""The real cluster, the real hub and the installed operator, for tests that walk a user's path."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBECONFIG = ROOT / ".cluster/kubeconfig"
HUB_ADMIN = "http://127.0.0.1:8091"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""For the cluster's own addresses, which no proxy knows."""
SMOLLM2 = "hf://HuggingFaceTB/SmolLM2-135M-Instruct"


class Cluster:
    """kubectl against one namespace of the local cluster."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(
        self, *args: str, check: bool = True, stdin: str | None = None, namespaced: bool = True
    ) -> str:
        """Run kubectl; returns stdout."""
        where = ["-n", self.namespace] if namespaced else []
        command = [str(ROOT / ".venv/bin/kubectl"), "--kubeconfig", str(KUBECONFIG), *where, *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin, timeout=300)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr}")
        return done.stdout

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object, or an empty dict."""
        out = self.kubectl("get", kind, name, "-o", "json", check=False)
        return dict(json.loads(out)) if out.strip() else {}

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of the kind."""
        extra = ["-l", selector] if selector else []
        return list(json.loads(self.kubectl("get", kind, "-o", "json", *extra))["items"])

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply like a user does."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def model(self, name: str, source: str = SMOLLM2, **spec: Any) -> dict[str, Any]:
        """Apply a ModelDeployment; ``model`` in spec is merged."""
        model = {"source": source, **spec.pop("model", {})}
        body = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": name},
            "spec": {"model": model, **spec},
        }
        self.apply(body)
        return body

    def mdl(self, name: str) -> dict[str, Any]:
        """The ModelDeployment."""
        return self.get("modeldeployments.slipway.dev", name)

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A condition that speaks of the current generation, or an empty dict."""
        mdl = self.mdl(name)
        generation = mdl.get("metadata", {}).get("generation")
        found = [c for c in mdl.get("status", {}).get("conditions", []) if c["type"] == kind]
        current = [c for c in found if c.get("observedGeneration") == generation]
        return dict(current[0]) if current else {}

    def wait(self, what: str, probe: Callable[[], Any], timeout: float = 240) -> Any:
        """Poll until the probe is truthy; the error shows the namespace's state."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := probe():
                return found
            time.sleep(0.5)
        raise AssertionError(f"timed out waiting for {what}\n{self.state()}")

    def wait_reason(self, name: str, kind: str, reason: str, timeout: float = 240) -> dict[str, Any]:
        """Wait until the condition has the reason; returns the condition."""

        def probe() -> dict[str, Any] | None:
            found = self.condition(name, kind)
            return found if found.get("reason") == reason else None

        return dict(self.wait(f"{name}: {kind}={reason}", probe, timeout))

    def wait_ready(self, name: str, timeout: float = 420) -> dict[str, Any]:
        """Wait until Ready is True; returns the object."""

        def probe() -> bool:
            return bool(self.condition(name, "Ready").get("status") == "True")

        self.wait(f"{name} ready", probe, timeout)
        return self.mdl(name)

    def endpoint(self, name: str) -> str:
        """Base URL of the model's Service, reachable from the node."""
        service = self.get("service", name)
        return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def state(self) -> str:
        """What a person would look at first."""
        parts = [
            self.kubectl("get", "mdl,mart,jobs,pods", "-o", "wide", check=False),
            self.kubectl("get", "mdl", "-o", "jsonpath={range .items[*]}{.status}{'\\n'}{end}", check=False),
            self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False)[-3000:],
        ]
        return "\n".join(parts)


def hub_admin(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Call the hub's admin port, ``/faults`` or ``/requests``."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(HUB_ADMIN + path, data, method=method)
    with DIRECT.open(request, timeout=10) as answer:
        return dict(json.load(answer))


@contextmanager
def hub_fault(**fault: Any) -> Iterator[None]:
    """The hub has this fault inside the block."""
    hub_admin("PUT", "/faults", fault)
    try:
        yield
    finally:
        hub_admin("DELETE", "/faults")


@pytest.fixture(scope="session")
def installed() -> None:
    """The operator is up, and nothing is left of tests that were killed; else say how to get there."""
    if not KUBECONFIG.exists():
        pytest.fail("no cluster: run 'make test', or 'make cluster images' and hack/demo/install.py first")
    hub_admin("DELETE", "/faults")
    leftovers = ["delete", "namespace", "-l", "slipway-test=true", "--wait=true", "--timeout=240s"]
    system = Cluster("slipway-system")
    system.kubectl(*leftovers, namespaced=False)
    system.kubectl("rollout", "status", "deploy/slipway", "--timeout=120s")


def make_namespace(prefix: str) -> Cluster:
    """A namespace that enforces PSS restricted."""
    cluster = Cluster(f"{prefix}-{uuid.uuid4().hex[:6]}")
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "slipway-test": "true"}
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": cluster.namespace, "labels": labels},
    }
    cluster.apply(body)
    return cluster


def drop_namespace(cluster: Cluster) -> None:
    """Delete it with everything inside."""
    cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false", namespaced=False)


@contextmanager
def own_namespace(prefix: str) -> Iterator[Cluster]:
    """A namespace for the block."""
    made = make_namespace(prefix)
    try:
        yield made
    finally:
        drop_namespace(made)


@pytest.fixture
def cluster(installed: None) -> Iterator[Cluster]:
    """A namespace of this test's own."""
    with own_namespace("test") as made:
        yield made


@pytest.fixture(scope="session")
def served(installed: None) -> Iterator[Cluster]:
    """A namespace with the example served, shared by the tests that only look at it."""
    with own_namespace("served") as made:
        made.apply(yaml.safe_load((ROOT / "examples/smollm2.yaml").read_text()))
        made.wait_ready("smollm2")
        yield made
