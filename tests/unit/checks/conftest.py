"""A deployment to which no rule objects, and the means to change one thing of it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.checks import Input, NodeState, Result, evaluate
from slipway.plan.decision import Memory, Plan, Resources, Sizes
from slipway.plan.facts import NodeFacts

DIGEST = "sha256:" + "a" * 64
LABELS = {"app.kubernetes.io/managed-by": "slipway", "slipway.dev/model": "qwen"}
PLAN = Plan(
    engine="llamacpp",
    method="gguf",
    level="Q4_K_M",
    context_length=4096,
    concurrency=4,
    threads=2,
    node_selector=(),
    memory=Memory(weights=100 << 20, kv_cache=50 << 20, activations=30 << 20, overhead=20 << 20),
    resources=Resources(cpu_millis=500, memory=220 << 20, shared_memory=64 << 20),
    sizes=Sizes(source=270 << 20, f16=270 << 20, level=100 << 20),
    profile="edge",
    reason="no GPU",
)
PROBE = {"httpGet": {"path": "/health", "port": "http"}}
CONTAINER = {
    "name": "engine",
    "image": f"docker.io/slipway/llamacpp@{DIGEST}",
    "args": ["--model", "/models/model.gguf", "--api-key-file", "/keys/keys"],
    "startupProbe": PROBE,
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "resources": {
        "requests": {"cpu": "500m", "memory": "220Mi"},
        "limits": {"cpu": "2", "memory": "220Mi"},
    },
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
TEMPLATE = {
    "metadata": {"labels": LABELS, "annotations": {"prometheus.io/scrape": "true"}},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [CONTAINER],
        "volumes": [{"name": "model", "persistentVolumeClaim": {"claimName": "c"}}],
    },
}
DEPLOYMENT = {
    "metadata": {"name": "qwen", "namespace": "team", "generation": 3},
    "spec": {"replicas": 2, "template": TEMPLATE},
    "status": {"readyReplicas": 2},
}
BUDGET = {
    "metadata": {"name": "qwen", "generation": 1},
    "spec": {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": LABELS},
    },
}
POLICY = {
    "metadata": {"name": "qwen", "generation": 1},
    "spec": {
        "podSelector": {"matchLabels": {"slipway.dev/model": "qwen"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": {}}]}],
        "egress": [],
    },
}
BENCHMARK = {
    "tool": "guidellm 0.8.1",
    "revision": "qwen-1234567890",
    "finishedAt": "2026-11-21T10:00:00Z",
    "metricsOk": True,
    "acceptanceRate": "62%",
    "levels": [
        {
            "concurrency": 1,
            "requests": 20,
            "errors": 0,
            "requestsPerSecond": "1.1",
            "tokensPerSecond": "35.0",
            "ttftP50Ms": "200.5",
            "ttftP95Ms": "300.0",
        },
        {
            "concurrency": 4,
            "requests": 40,
            "errors": 0,
            "requestsPerSecond": "2.0",
            "tokensPerSecond": "64.0",
            "ttftP50Ms": "400.0",
            "ttftP95Ms": "900.0",
        },
    ],
}
QUALITY = {
    "perplexity": "14.2",
    "basePerplexity": "13.6",
    "loss": "4.4%",
    "band": "3-5%",
    "tokens": 4096,
    "seconds": "10.1",
    "textDigest": "sha256:beef",
}


def pod(node: str, digest: str = DIGEST, *, ready: bool = True) -> dict[str, Any]:
    return {
        "metadata": {"labels": LABELS},
        "spec": {"nodeName": node},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "engine", "imageID": f"docker.io/slipway/llamacpp@{digest}"}],
        },
    }


def node(name: str, pressure: str = "False") -> NodeState:
    facts = NodeFacts(name, "amd64", cpu=2, memory=8 << 30, ephemeral_storage=50 << 30, ready=True)
    return NodeState(facts, {"Ready": "True", "DiskPressure": pressure})


@pytest.fixture
def healthy() -> Input:
    children = {"Deployment": DEPLOYMENT, "PodDisruptionBudget": BUDGET, "NetworkPolicy": POLICY}
    return Input(
        name="qwen",
        namespace="team",
        namespace_labels={"pod-security.kubernetes.io/enforce": "restricted"},
        spec=ModelDeploymentSpec.model_validate(
            {"model": {"source": "hf://a/b"}, "replicas": 2, "engine": {"speculative": {"tokens": 7}}}
        ),
        plan=PLAN,
        children=copy.deepcopy(children),
        pods=(pod("n1"), pod("n2")),
        artifact_name="b-q4-k-m-0123456789",
        artifact_status={"sizeBytes": 100 << 20, "quality": dict(QUALITY)},
        claim={
            "metadata": {"name": "b-q4-k-m-0123456789"},
            "status": {"capacity": {"storage": "128Mi"}},
        },
        nodes=(node("n1"), node("n2"), node("other", "True")),
        benchmark=copy.deepcopy(BENCHMARK),
    )


@pytest.fixture
def change(healthy: Input) -> Callable[..., Input]:
    """Replace one value, ``change("benchmark/levels/0/errors", 3)``; without a value, remove it."""

    def edit(path: str, *value: Any) -> Input:
        first, *rest = path.split("/")
        if not rest:
            return dataclasses.replace(healthy, **{first: value[0]})
        root = copy.deepcopy(getattr(healthy, first))
        target = root
        for step in rest[:-1]:
            target = target[int(step) if isinstance(target, list) else step]
        last = int(rest[-1]) if isinstance(target, list) else rest[-1]
        if value:
            target[last] = value[0]
        else:
            del target[last]
        return dataclasses.replace(healthy, **{first: root})

    return edit


@pytest.fixture
def one() -> Callable[..., Result]:
    """Pick a rule's result: ``one("pdb", given)``."""

    def pick(check: str, given: Input, profile: str = "edge") -> Result:
        (found,) = [result for result in evaluate(given, profile) if result.check == check]
        return found

    return pick


@pytest.fixture
def make_pod() -> Callable[..., dict[str, Any]]:
    return pod


@pytest.fixture
def make_node() -> Callable[..., NodeState]:
    return node
