"""One namespace of a real API server: what a test does and sees in it, and the kubelet that it lacks."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from slipway import resources
from slipway.errors import ApiError, NotFoundError
from slipway.kube import Kube, Raw
from slipway.resources import Resource
from tests.support.stage_results import RESULTS
from tests.support.waiting import until


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

    async def clear(self) -> None:
        """Delete every model; the garbage collector takes what belongs to them."""
        await self.kube.request("DELETE", resources.MODEL.path(self.namespace))

    async def condition(self, name: str, kind: str, resource: Resource = resources.MODEL) -> Raw:
        """A condition of the current generation, or an empty dict."""
        raw = await self.get(resource, name)
        for one in raw.get("status", {}).get("conditions", []):
            if one["type"] == kind and one.get("observedGeneration") == raw["metadata"]["generation"]:
                return dict(one)
        return {}

    async def until(self, what: str, probe: Callable[[], Awaitable[Any]]) -> Any:
        """Look until the probe is truthy; an error of the API is no answer yet."""

        async def look() -> Any:
            with suppress(ApiError):
                return await probe()

        try:
            return await until(what, look)
        except AssertionError as error:
            models = [raw.get("status") for raw in await self.list(resources.MODEL)]
            raise AssertionError(f"{error}; models: {json.dumps(models, indent=1)[:6000]}") from None

    async def until_reason(self, name: str, kind: str, reason: str) -> Raw:
        """Wait for a condition's reason."""

        async def probe() -> Raw | None:
            found = await self.condition(name, kind)
            return found if found.get("reason") == reason else None

        return dict(await self.until(f"{name}: {kind}={reason}", probe))

    async def pod_of(self, job: Raw) -> Raw:
        """The Job's pod, once the Job controller made it."""

        async def probe() -> Raw | None:
            # By uid: the pod of a deleted Job of this name may still be going away.
            pods = await self.list(resources.POD, f"batch.kubernetes.io/controller-uid={uid}")
            return pods[0] if pods else None

        uid = job["metadata"]["uid"]
        return dict(await self.until(f"pod of {job['metadata']['name']}", probe))

    async def job(self, stage: str, *, but: set[str] | None = None, model: str = "") -> Raw:
        """The unfinished Job of a stage (of this model, if one is named), once it is there."""
        selector = f"slipway.dev/stage={stage}" + (f",slipway.dev/model={model}" if model else "")

        async def probe() -> Raw | None:
            for raw in await self.list(resources.JOB, selector):
                conditions = raw.get("status", {}).get("conditions", [])
                # Any of them, such as FailureTarget: a Job that is about to end takes no pod's end any more.
                ending = any(one["status"] == "True" for one in conditions)
                if not ending and raw["metadata"]["name"] not in (but or set()):
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
        job = await self.job(stage)
        await self.end_pod(await self.pod_of(job), code, result, reason)
        name = str(job["metadata"]["name"])

        async def over() -> bool:
            return ended(await self.get(resources.JOB, name))

        await self.until(f"{name} ended", over)
        return name

    async def end_pod(self, pod: Raw, code: int, result: Raw | str, reason: str = "") -> None:
        """Play the kubelet: this pod ends."""
        message = result if isinstance(result, str) else json.dumps(result)
        terminated = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "message": message,
        }
        await self.pod_status(pod, "Succeeded" if code == 0 else "Failed", {"terminated": terminated})

    async def pod_status(self, pod: Raw, phase: str, state: Raw, *, ready: bool = False) -> None:
        """Play the kubelet: write a pod's status."""
        container = pod["spec"]["containers"][0]
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "restartCount": 0,
            "state": state,
        }
        conditions = [
            {"type": kind, "status": str(ready), "lastTransitionTime": timestamp()}
            for kind in ("Ready", "ContainersReady")
        ]
        await self._write_pod_status(
            pod, {"phase": phase, "containerStatuses": [status], "conditions": conditions}
        )

    async def crash(self, pod: Raw, message: str) -> None:
        """Play the kubelet: this pod's engine ended with these last words and waits to be started again."""
        container = pod["spec"]["containers"][0]
        dead = {"exitCode": 1, "reason": "Error", "message": message, "containerID": "containerd://1"}
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": dead},
        }
        await self._write_pod_status(pod, {"phase": "Running", "containerStatuses": [status]})

    async def _write_pod_status(self, pod: Raw, status: Raw) -> None:
        meta = pod["metadata"]
        path = resources.POD.path(meta["namespace"], meta["name"], "status")
        headers = {"Content-Type": "application/merge-patch+json"}
        await self.kube.request("PATCH", path, body={"status": status}, headers=headers)

    async def build(self) -> None:
        """Play the kubelet for all stages of one model, from inspect to the level's publish."""
        await self.build_f16()
        await self.finish("quantize")
        await self.finish("evaluate", perplexity="14.81")
        await self.finish("publish")

    async def build_f16(self) -> None:
        """The same for a model that is served as it is converted, without a level."""
        for stage in ("inspect", "fetch", "convert"):
            await self.finish(stage)
        await self.finish("evaluate", perplexity="13.82")
        await self.finish("publish")

    async def unschedulable(self, pod: Raw, message: str, seconds: float = 60) -> None:
        """Play the scheduler: no node takes the pod, for a minute already."""
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": timestamp(time.time() - seconds),
        }
        await self._write_pod_status(
            pod, {"phase": "Pending", "containerStatuses": [], "conditions": [condition]}
        )

    async def engine_pods(self, name: str) -> Sequence[Raw]:
        """Pods of the engine."""
        return await self.list(resources.POD, f"slipway.dev/model={name},app.kubernetes.io/component=engine")

    async def serve(self, name: str, count: int = 1) -> None:
        """Play the kubelet: the engine's pods get ready."""

        async def pods() -> Sequence[Raw]:
            found = await self.engine_pods(name)
            return found if len(found) >= count else ()

        for pod in await self.until(f"{count} engine pods", pods):
            await self.pod_status(pod, "Running", {"running": {}}, ready=True)


def ended(job: Raw) -> bool:
    """Whether a Job is Complete or Failed; one that is not there is neither."""
    conditions = job.get("status", {}).get("conditions", [])
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def stage_of(job: Raw) -> str:
    """What a Job of ours does."""
    return str(job["metadata"]["labels"]["slipway.dev/stage"])


def owner_of(job: Raw) -> str:
    """Name of the model or artifact that a Job is for."""
    return str(job["metadata"]["ownerReferences"][0]["name"])


def timestamp(at: float | None = None) -> str:
    """A time as metav1.Time writes it; now when none is given."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
