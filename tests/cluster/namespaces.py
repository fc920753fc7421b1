"""One namespace of the cluster as a test sees it: apply, look, wait; and how namespaces come and go."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.cluster import access
from tests.cluster.hub import SMOLLM2

POLL_S = 0.2
ENGINE = "app.kubernetes.io/component=engine"


class Cluster:
    """The cluster, seen from one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(
        self, *args: str, check: bool = True, stdin: str | None = None, namespaced: bool = True
    ) -> str:
        """Run kubectl; returns stdout."""
        where = ["-n", self.namespace] if namespaced else []
        return access.run(access.KUBECTL, *where, *args, check=check, stdin=stdin)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object, or an empty dict."""
        return access.read(access.path_of(kind, self.namespace, name))

    def list(self, kinds: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of the kinds, which commas part."""
        found = []
        for kind in kinds.split(","):
            listed = access.read(access.path_of(kind, self.namespace, "", selector))
            # The API server leaves out what all items have in common.
            found += [{**item, "kind": listed["kind"].removesuffix("List")} for item in listed["items"]]
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply like a user does."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def model(self, name: str, source: str = SMOLLM2, **spec: Any) -> None:
        """Apply a ModelDeployment; ``model`` in spec is merged."""
        self.apply(model_manifest(name, source, **spec))

    def delete_models(self, *names: str) -> None:
        """Delete ModelDeployments; what belongs to them goes in its own time."""
        self.kubectl("delete", "mdl", *names, "--wait=false")

    def mdl(self, name: str) -> dict[str, Any]:
        """The ModelDeployment."""
        return self.get("mdl", name)

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A condition that speaks of the current generation, or an empty dict."""
        mdl = self.mdl(name)
        generation = mdl.get("metadata", {}).get("generation")
        found = [c for c in mdl.get("status", {}).get("conditions", []) if c["type"] == kind]
        current = [c for c in found if c.get("observedGeneration") == generation]
        return dict(current[0]) if current else {}

    def wait(self, what: str, probe: Callable[[], Any], timeout: float = 240) -> Any:
        """Poll until the probe is truthy; the error shows the namespace's state.

        An API server that does not answer is asked again: what is tested may be just that.
        """
        deadline, trouble = time.monotonic() + timeout, ""
        while time.monotonic() < deadline:
            try:
                if found := probe():
                    return found
                trouble = ""
            except OSError as error:
                trouble = f": {error!r}"
            time.sleep(POLL_S)
        raise AssertionError(f"timed out waiting for {what}{trouble}\n{self.state()}")

    def wait_reason(self, name: str, kind: str, reason: str, timeout: float = 240) -> dict[str, Any]:
        """Wait until the condition has the reason; returns the condition."""

        def probe() -> dict[str, Any] | None:
            found = self.condition(name, kind)
            return found if found.get("reason") == reason else None

        return dict(self.wait(f"{name}: {kind}={reason}", probe, timeout))

    def wait_true(self, name: str, kind: str, timeout: float = 180) -> dict[str, Any]:
        """Wait until the condition is True; returns the condition."""

        def probe() -> dict[str, Any] | None:
            found = self.condition(name, kind)
            return found if found.get("status") == "True" else None

        return dict(self.wait(f"{name}: {kind}=True", probe, timeout))

    def wait_ready(self, name: str, timeout: float = 420) -> dict[str, Any]:
        """Wait until Ready is True; returns the object."""
        self.wait_true(name, "Ready", timeout)
        return self.mdl(name)

    def endpoint(self, name: str) -> str:
        """Base URL of the model's Service, reachable from the node once kube-proxy knows it."""
        service = self.get("services", name)
        base = f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

        def reachable() -> bool:
            with access.DIRECT.open(f"{base}/health", timeout=5) as answer:
                return bool(answer.status == 200)

        # kube-proxy may write a new Service's rules a second after its first pod is ready.
        self.wait(f"the node's route to Service {name}", reachable, 10)
        return base

    def engines(self, name: str) -> list[dict[str, Any]]:
        """The model's engine pods that stay."""
        pods = self.list("pods", f"{ENGINE},slipway.dev/model={name}")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def state(self) -> str:
        """What a person would look at first."""
        parts = [
            self.kubectl("get", "mdl,mart,jobs,pods", "-o", "wide", check=False),
            self.kubectl("get", "mdl", "-o", "jsonpath={range .items[*]}{.status}{'\\n'}{end}", check=False),
            self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False)[-3000:],
        ]
        return "\n".join(parts)


SYSTEM = Cluster("slipway-system")


def model_manifest(name: str, source: str = SMOLLM2, **spec: Any) -> dict[str, Any]:
    """A ModelDeployment; ``model`` in spec is merged."""
    model = {"source": source, **spec.pop("model", {})}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": model, **spec},
    }


def tries(cluster: Cluster) -> Counter[tuple[str, str]]:
    """Number of Jobs by what they work for and stage."""
    labels = [job["metadata"]["labels"] for job in cluster.list("jobs")]
    return Counter(
        (one.get("slipway.dev/artifact") or one["slipway.dev/model"], one["slipway.dev/stage"])
        for one in labels
    )


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
