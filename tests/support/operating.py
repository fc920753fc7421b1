"""The operator in this process against a real API server.

And the part of a kubelet that a bare control plane lacks.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from slipway import resources
from slipway.endpoint import read_endpoint
from slipway.errors import ApiError, ConflictError, NotFoundError
from slipway.kube import Kube, Raw
from slipway.resources import Resource
from slipway.serve import Operator, Options
from slipway.settings import Settings

COMMIT = "c" * 40
FACTS = {
    "architecture": "LlamaForCausalLM",
    "parameters": 134_515_008,
    "layers": 30,
    "hiddenSize": 576,
    "heads": 9,
    "kvHeads": 3,
    "headDim": 64,
    "vocabSize": 49152,
    "contextLength": 8192,
    "dtype": "bfloat16",
    "weightBytes": 269_060_552,
    "downloadBytes": 271_000_000,
    "license": "apache-2.0",
    "quantization": "",
}
INSPECTED = {"ok": True, "stage": "inspect", "commit": COMMIT, "facts": FACTS, "files": 9}
RESULTS: dict[str, dict[str, Any]] = {
    "inspect": INSPECTED,
    "fetch": {
        "ok": True,
        "stage": "fetch",
        "sizeBytes": 271_000_000,
        "digest": f"sha256:{'1' * 64}",
        "files": 9,
    },
    "convert": {"ok": True, "stage": "convert", "sizeBytes": 270_000_000, "sha256": "2" * 64},
    "quantize": {"ok": True, "stage": "quantize", "sizeBytes": 105_000_000, "sha256": "3" * 64},
    "evaluate": {
        "ok": True,
        "stage": "evaluate",
        "perplexity": "14.81",
        "tokens": 4096,
        "seconds": "16.2",
        "textDigest": f"sha256:{'4' * 64}",
    },
    "publish": {
        "ok": True,
        "stage": "publish",
        "sizeBytes": 105_000_000,
        "digest": f"sha256:{'5' * 64}",
        "files": 2,
    },
    "benchmark": {
        "ok": True,
        "stage": "benchmark",
        "tool": "guidellm 0.8.1",
        "metricsOk": True,
        "levels": [
            {
                "concurrency": level,
                "requests": 20,
                "errors": 0,
                "requestsPerSecond": "1.0",
                "tokensPerSecond": "40.0",
                "ttftP50Ms": "120.0",
                "ttftP95Ms": "240.0",
            }
            for level in (1, 4)
        ],
    },
}
"""What the stages say of themselves when all goes well."""


class Cluster:
    """One namespace of the API server, with what a test does and sees in it."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace

    async def model(self, name: str, source: str = "hf://acme/model", **spec: Any) -> Raw:
        """Create a ModelDeployment."""
        model = {"source": source, **spec.pop("model", {})}
        body = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"model": model, **spec},
        }
        return await self.kube.create(resources.MODEL, body)

    async def get(self, resource: Resource, name: str) -> Raw:
        """One object; an empty dict when it is not there."""
        try:
            return await self.kube.get(resource, self.namespace, name)
        except NotFoundError:
            return {}

    async def list(self, resource: Resource, selector: str = "") -> list[Raw]:
        """All objects of the namespace."""
        params = {"labelSelector": selector} if selector else {}
        return list((await self.kube.list_page(resource, self.namespace, params))["items"])

    async def patch(self, resource: Resource, name: str, body: Raw) -> Raw:
        """Merge patch."""
        return await self.kube.merge_patch(resource, self.namespace, name, body)

    async def delete(self, resource: Resource, name: str) -> None:
        """Delete."""
        found = await self.get(resource, name)
        await self.kube.delete(resource, self.namespace, name, found["metadata"]["uid"])

    async def condition(self, name: str, kind: str, resource: Resource = resources.MODEL) -> Raw:
        """A condition of the current generation, or an empty dict."""
        raw = await self.get(resource, name)
        for one in raw.get("status", {}).get("conditions", []):
            if one["type"] == kind and one.get("observedGeneration") == raw["metadata"]["generation"]:
                return dict(one)
        return {}

    async def until(self, what: str, probe: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
        """Poll until the probe is truthy."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(ApiError):
                if found := await probe():
                    return found
            await asyncio.sleep(0.05)
        models = [raw.get("status") for raw in await self.list(resources.MODEL)]
        raise AssertionError(f"timed out waiting for {what}; models: {json.dumps(models, indent=1)[:6000]}")

    async def until_reason(self, name: str, kind: str, reason: str, seconds: float = 20) -> Raw:
        """Wait for a condition's reason."""

        async def probe() -> Raw | None:
            found = await self.condition(name, kind)
            return found if found.get("reason") == reason else None

        return dict(await self.until(f"{name}: {kind}={reason}", probe, seconds))

    async def pod_of(self, job: str) -> Raw:
        """The Job's pod, once the Job controller made it."""

        async def probe() -> Raw | None:
            pods = await self.list(resources.POD, f"batch.kubernetes.io/job-name={job}")
            return pods[0] if pods else None

        return dict(await self.until(f"pod of {job}", probe))

    async def job(self, stage: str, *, but: set[str] | None = None) -> Raw:
        """The unfinished Job of a stage, once it is there."""

        async def probe() -> Raw | None:
            for raw in await self.list(resources.JOB, f"slipway.dev/stage={stage}"):
                ended = any(c["status"] == "True" for c in raw.get("status", {}).get("conditions", []))
                if not ended and raw["metadata"]["name"] not in (but or set()):
                    return raw
            return None

        return dict(await self.until(f"a {stage} Job", probe))

    async def finish(self, stage: str, **result: Any) -> str:
        """Play the kubelet: the stage's pod ends well; returns the Job's name."""
        return await self.end(stage, 0, RESULTS[stage] | result)

    async def end(self, stage: str, code: int, result: Raw | str, reason: str = "") -> str:
        """Play the kubelet: the stage's pod ends with this code and termination message.

        Returns the Job's name.
        """
        job = (await self.job(stage))["metadata"]["name"]
        pod = await self.pod_of(job)
        message = result if isinstance(result, str) else json.dumps(result)
        terminated = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "message": message,
        }
        await self.pod_status(pod, "Succeeded" if code == 0 else "Failed", {"terminated": terminated})

        async def ended() -> bool:
            conditions = (await self.get(resources.JOB, job)).get("status", {}).get("conditions", [])
            return any(
                one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions
            )

        await self.until(f"{job} ended", ended)
        return str(job)

    async def pod_status(self, pod: Raw, phase: str, state: Raw, *, ready: bool = False) -> None:
        """Play the kubelet: write a pod's status."""
        meta = pod["metadata"]
        container = pod["spec"]["containers"][0]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "restartCount": 0,
            "state": state,
        }
        conditions = [
            {"type": kind, "status": str(ready), "lastTransitionTime": now}
            for kind in ("Ready", "ContainersReady")
        ]
        body = {"status": {"phase": phase, "containerStatuses": [status], "conditions": conditions}}
        path = resources.POD.path(meta["namespace"], meta["name"], "status")
        headers = {"Content-Type": "application/merge-patch+json"}
        await self.kube.request("PATCH", path, body=body, headers=headers)

    async def build(self, base: str = "13.82", level: str = "14.81") -> None:
        """Play the kubelet for all stages of one model, from inspect to the level's publish."""
        for stage in ("inspect", "fetch", "convert"):
            await self.finish(stage)
        await self.finish("evaluate", perplexity=base)
        await self.finish("publish")
        await self.finish("quantize")
        await self.finish("evaluate", perplexity=level)
        await self.finish("publish")

    async def unschedulable(self, pod: Raw, message: str) -> None:
        """Play the scheduler: no node takes the pod, for a minute already."""
        meta = pod["metadata"]
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": since,
        }
        body = {"status": {"phase": "Pending", "containerStatuses": [], "conditions": [condition]}}
        path = resources.POD.path(meta["namespace"], meta["name"], "status")
        headers = {"Content-Type": "application/merge-patch+json"}
        await self.kube.request("PATCH", path, body=body, headers=headers)

    async def engine_pods(self, name: str) -> list[Raw]:
        """Pods of the engine."""
        return await self.list(resources.POD, f"slipway.dev/model={name},app.kubernetes.io/component=engine")

    async def serve(self, name: str, count: int = 1) -> None:
        """Play the kubelet: the engine's pods get ready."""

        async def pods() -> list[Raw]:
            found = await self.engine_pods(name)
            return found if len(found) >= count else []

        for pod in await self.until(f"{count} engine pods", pods):
            await self.pod_status(pod, "Running", {"running": {}}, ready=True)


@asynccontextmanager
async def connected(kubeconfig: Path | str, **options: Any) -> AsyncIterator[Kube]:
    """A client of our own."""
    kube = Kube(await read_endpoint(str(kubeconfig), None), **options)
    try:
        yield kube
    finally:
        await kube.close()


async def fresh_namespace(kube: Kube) -> str:
    """A namespace of this test's own."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await kube.create(
        resources.NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )

    async def account() -> bool:
        path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        return bool(await kube.request("GET", path))

    await Cluster(kube, name).until("the default service account", account)
    return name


@asynccontextmanager
async def operating(
    kubeconfig: Path | str, namespace: str, *, election: bool = False, **settings: Any
) -> AsyncIterator[Operator]:
    """The operator, serving one namespace in this process, leading."""
    async with connected(kubeconfig) as kube:
        wished = Settings(namespace=namespace, watch_namespaces=(namespace,), **settings)
        operator = Operator(kube, wished, Options(host="127.0.0.1", port=0, election=election))
        running = asyncio.create_task(operator.run())
        try:
            await asyncio.wait_for(operator.elector.leading.wait(), 30)
            yield operator
        finally:
            operator.stop()
            await asyncio.wait_for(running, 30)


async def a_node(kube: Kube, name: str = "small", memory: str = "8Gi") -> None:
    """A ready node for the planner; no kubelet is behind it, so it is believed for 40 s from now."""
    meta = {"name": name, "labels": {"kubernetes.io/arch": "amd64"}}
    with suppress(ConflictError):
        await kube.create(resources.NODE, {"apiVersion": "v1", "kind": "Node", "metadata": meta})
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    amounts = {"cpu": "4", "memory": memory, "ephemeral-storage": "50Gi", "pods": "110"}
    conditions = [{"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}]
    status = {"allocatable": amounts, "capacity": amounts, "conditions": conditions}
    headers = {"Content-Type": "application/merge-patch+json"}
    path = resources.NODE.path(None, name, "status")
    await kube.request("PATCH", path, body={"status": status}, headers=headers)
    await kube.merge_patch(resources.NODE, None, name, {"spec": {"taints": None}})


async def settled(operator: Operator) -> None:
    """Wait until no pass writes any more, and the queue is empty."""
    before = -1
    while before != operator.kube.writes.total() or len(operator.queue):
        before = operator.kube.writes.total()
        await asyncio.sleep(1)


async def served(cluster: Cluster, name: str = "qwen", **spec: object) -> None:
    """A model, served and measured."""
    await cluster.model(name, **spec)
    await cluster.build()
    await cluster.serve(name)
    await cluster.until_reason(name, "Ready", "Serving")
    await cluster.finish("benchmark")

    async def measured() -> bool:
        return bool((await cluster.get(resources.MODEL, name))["status"].get("benchmark"))

    await cluster.until("the benchmark", measured)
