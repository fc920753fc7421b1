"""One Job in Kubernetes' shape: pod, volumes, environment, what ends it. Called by jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.manifests import names, places, pod, sources
from slipway.manifests.job_sizes import JobSize, Subject, stage_size
from slipway.manifests.owner import Owner, child
from slipway.manifests.placement import Placement
from slipway.manifests.places import Place
from slipway.plan.quantities import bytes_text, quantity
from slipway.resources import JOB
from slipway.settings import Settings
from slipway_runtime import contract

CONTAINER = "stage"
PROGRAM = "slipway-runtime"
SCRATCH_LIMIT = "1Gi"
REMOTE_STAGES = ("recall", "push")
"""Stages that reach the registry or bucket that keeps artifacts."""
HUB_STAGES = ("inspect", "fetch", *REMOTE_STAGES)
"""Stages that read the source, or what keeps artifacts: they alone get its address, the credential, the proxy
and the CA."""


@dataclass(frozen=True)
class Work:
    """One Job, before it is put into Kubernetes' shape; ``parent`` in place of a claim that there is not."""

    name: str
    stage: str
    labels: dict[str, str]
    env: dict[str, str]
    subject: Subject = field(default_factory=Subject)
    store_claim: str | None = None
    parent_claim: str | None = None
    parent: Place | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    secret: str | None = None
    placement: Placement = field(default_factory=Placement)


def build_job(owner: Owner, work: Work, settings: Settings) -> dict[str, Any]:
    """The Job; its size is computed from the stage and what it works on."""
    labels = names.labels(work.stage, names.JOB_COMPONENT, stage=work.stage, **work.labels)
    size = stage_size(work.stage, work.subject, settings)
    return {
        **child(owner, JOB, labels, name=work.name),
        "spec": {
            # Attempts are the operator's: it alone knows which failures another try can mend.
            "backoffLimit": 0,
            "activeDeadlineSeconds": size.deadline_seconds,
            "ttlSecondsAfterFinished": settings.job_ttl_seconds,
            "podFailurePolicy": {"rules": [_permanent()]},
            "template": {"metadata": {"labels": labels}, "spec": _pod_spec(work, size, settings)},
        },
    }


def _permanent() -> dict[str, Any]:
    """A permanent failure ends the Job at once.

    Nothing is ignored: a drained pod and one that its node threw out for its appetite have one condition, and
    only the operator reads its reason.
    """
    exits = sorted(int(code) for code in contract.PERMANENT)
    return {
        "action": "FailJob",
        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": exits},
    }


def with_memory(job: dict[str, Any], factor: int) -> dict[str, Any]:
    """The Job with ``factor`` times its memory limit, for the try after one that was killed for memory."""
    if factor == 1:
        return job
    template = job["spec"]["template"]
    container = template["spec"]["containers"][0]
    limits = container["resources"]["limits"]
    more = {**limits, "memory": bytes_text(int(quantity(limits["memory"])) * factor)}
    containers = [{**container, "resources": {**container["resources"], "limits": more}}]
    pod_spec = {**template["spec"], "containers": containers}
    return {**job, "spec": {**job["spec"], "template": {**template, "spec": pod_spec}}}


def _pod_spec(work: Work, size: JobSize, settings: Settings) -> dict[str, Any]:
    volumes, mounts = _volumes(work, settings)
    kept = work.env.get("SLIPWAY_PUSH_TO", "")
    outside = sources.environment(settings, kept) if work.stage in HUB_STAGES else {}
    container = {
        "name": CONTAINER,
        "image": work.image or settings.images.runtime,
        "imagePullPolicy": settings.images.pull_policy,
        "command": [PROGRAM, work.stage],
        "env": pod.env_list({"HOME": "/tmp", **outside, **work.env}),  # noqa: S108 - an emptyDir
        "resources": size.resources(),
        "securityContext": pod.container_security(),
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    parent = {"parent": work.parent} if work.parent else {}
    copied = places.copies(parent, settings)
    return {
        **places.pulling(pod.pod_basics(settings), parent.values(), settings),
        **work.placement.fields(),
        **({"initContainers": copied} if copied else {}),
        **({"priorityClassName": settings.job_priority_class} if settings.job_priority_class else {}),
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": volumes,
    }


def _volumes(work: Work, settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and their mounts: scratch, own store, parent's store, inputs, what the source takes."""
    volumes, mounts = [pod.scratch("tmp", SCRATCH_LIMIT)], [pod.mount("tmp", "/tmp")]  # noqa: S108 - an emptyDir
    if work.store_claim:
        volumes.append(pod.claim_volume("store", work.store_claim))
        mounts.append(pod.mount("store", contract.STORE))
    if work.parent_claim:
        volumes.append(pod.claim_volume("parent", work.parent_claim, read_only=True))
        mounts.append(pod.mount("parent", contract.PARENT, read_only=True))
    if work.parent is not None:
        volumes.append(places.volume("parent", work.parent, settings))
        mounts.append(
            places.mount("parent", f"{contract.PARENT}/{contract.PUBLISHED}", work.parent, settings)
        )
        volumes += places.copy_volumes({"parent": work.parent}, settings)
    for name, claim in work.inputs.items():
        volumes.append(pod.claim_volume(f"input-{name}", claim, read_only=True))
        mounts.append(pod.mount(f"input-{name}", f"{contract.INPUTS}/{name}", read_only=True))
    if work.stage in HUB_STAGES:
        source = "" if work.stage in REMOTE_STAGES else work.env["SLIPWAY_SOURCE"]
        more, theirs = sources.volumes(source, work.secret, settings)
        volumes, mounts = [*volumes, *more], [*mounts, *theirs]
    return volumes, mounts
