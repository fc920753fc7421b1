"""The kinds of the Kubernetes API that Slipway reads or writes, as data.

Paths are built here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from slipway.api import GROUP, VERSION


@dataclass(frozen=True)
class Resource:
    """One kind.

    Attributes:
        group: API group, empty for core.
        plural: name in paths.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in manifests: ``apps/v1``, ``v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of one object or of its subresource; no namespace means all of them."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        return "/".join(part for part in [*parts, name, subresource] if part)


MODEL = Resource(GROUP, VERSION, "ModelDeployment", "modeldeployments")
ARTIFACT = Resource(GROUP, VERSION, "ModelArtifact", "modelartifacts")
DEPLOYMENT = Resource("apps", "v1", "Deployment", "deployments")
REVISION = Resource("apps", "v1", "ControllerRevision", "controllerrevisions")
SERVICE = Resource("", "v1", "Service", "services")
CLAIM = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = Resource("", "v1", "Pod", "pods")
SECRET = Resource("", "v1", "Secret", "secrets")
NODE = Resource("", "v1", "Node", "nodes", namespaced=False)
NAMESPACE = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
JOB = Resource("batch", "v1", "Job", "jobs")
AUTOSCALER = Resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
BUDGET = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
ENGINE = Resource(GROUP, VERSION, "ServingEngine", "servingengines", namespaced=False)
LEADER_WORKER_SET = Resource("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
LEASE = Resource("coordination.k8s.io", "v1", "Lease", "leases")
EVENT = Resource("events.k8s.io", "v1", "Event", "events")

SERVING = (DEPLOYMENT, SERVICE, BUDGET, NETWORK_POLICY, AUTOSCALER, LEADER_WORKER_SET)
"""Kinds of the children that serve a model; what is no longer wished among them is pruned."""

BY_KIND: Mapping[str, Resource] = MappingProxyType(
    {
        resource.kind: resource
        for resource in (
            MODEL, ARTIFACT, DEPLOYMENT, REVISION, SERVICE, CLAIM, POD, SECRET, NODE, NAMESPACE, JOB,
            AUTOSCALER, BUDGET, NETWORK_POLICY, ENGINE, LEADER_WORKER_SET, LEASE, EVENT,
        )
    }
)  # fmt: skip
"""Kind to resource; kinds are unique among those that Slipway touches."""
