"""The Jobs of every stage: inspect and benchmark for a ModelDeployment, the rest for a ModelArtifact.

Called by the passes and ``slipway render``; what a Job is given is said in ``slipway_runtime.contract``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import engine_named
from slipway.manifests import names, pod, sources
from slipway.manifests.artifacts import CONVERTED
from slipway.manifests.job_sizes import JobSize, Subject, stage_size
from slipway.manifests.owner import Owner, child
from slipway.manifests.placement import Placement, job_placement
from slipway.manifests.service import service_url
from slipway.plan.companions import LORA, Wanted, role
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts
from slipway.plan.quantities import bytes_text, quantity
from slipway.resources import JOB
from slipway.settings import Settings
from slipway_runtime import contract

__all__ = [
    "StageInputs",
    "build_benchmark_job",
    "build_inspect_job",
    "build_stage_job",
    "job_name",
    "stages",
    "with_memory",
]

CONTAINER = "stage"
PROGRAM = "slipway-runtime"
KEEP_SECONDS = 86400
"""A finished Job and its log stay for a day; its result is in status at once."""
SCRATCH_LIMIT = "1Gi"
HUB_STAGES = ("inspect", "fetch")
"""Stages that read the source: they alone get its address, the credential, the proxy and the CA."""
DEFAULT_REVISION = "main"
BENCHMARK = {
    "SLIPWAY_CONCURRENCIES": "1,4",
    "SLIPWAY_PROMPT_TOKENS": "128",
    "SLIPWAY_OUTPUT_TOKENS": "32",
    "SLIPWAY_BENCHMARK_SECONDS": "20",
}
"""Two concurrencies, 20 s each: long enough for P95 on CPU, short enough for every rollout."""


@dataclass(frozen=True)
class StageInputs:
    """What a stage Job needs beside its artifact.

    Attributes:
        secret: name of the Secret with key ``token`` (mounted for ``fetch`` only); None for none.
        parent_claim: claim of the parent artifact; of a companion's source ``Pinned.anchor``; else None.
        facts: of the model, for the memory; None when they can't be read: then sizes are guessed.
        placement: where the engine may run, so that it can read the volume.
    """

    secret: str | None = None
    parent_claim: str | None = None
    facts: ModelFacts | None = None
    placement: Placement = field(default_factory=Placement)


@dataclass(frozen=True)
class _Work:
    """One Job, before it is put into Kubernetes' shape."""

    name: str
    stage: str
    labels: dict[str, str]
    env: dict[str, str]
    subject: Subject = field(default_factory=Subject)
    store_claim: str | None = None
    parent_claim: str | None = None
    secret: str | None = None
    placement: Placement = field(default_factory=Placement)


def stages(artifact: dict[str, Any]) -> tuple[str, ...]:
    """Stages of an artifact's kind, in order: fetch; or convert or quantize, then evaluate and publish."""
    recipe = artifact["spec"]["recipe"]
    if recipe["method"] == "source":
        return ("fetch",)
    return ("convert" if recipe["level"] in CONVERTED else "quantize", "evaluate", "publish")


def job_name(subject: str, stage: str, attempt: int) -> str:
    """``<subject>-<stage>-<attempt>``, at most 63 characters (a long subject is cut and ends in its hash)."""
    return names.fit(subject, f"-{stage}-{attempt}")


def build_inspect_job(
    owner: Owner,
    spec: ModelDeploymentSpec,
    settings: Settings,
    attempt: int,
    spec_hash: str,
    companion: Wanted | None = None,
) -> dict[str, Any]:
    """The Job that resolves the commit and reads the facts of the model, or of a companion.

    Its name is ``job_name(f"{owner.name}-{spec_hash[:6]}", "inspect", attempt)``; it has the label
    ``slipway.dev/spec-hash``.
    """
    source, kind = companion or spec.model, companion.kind if companion else role(spec)
    trusts = spec.model.trust_remote_code is True and kind != LORA
    work = _Work(
        name=job_name(f"{owner.name}-{spec_hash[:6]}", "inspect", attempt),
        stage="inspect",
        labels={"model": owner.name, "spec-hash": spec_hash},
        env={
            "SLIPWAY_SOURCE": source.source,
            "SLIPWAY_REVISION": source.revision or DEFAULT_REVISION,
            **({"SLIPWAY_ROLE": kind} if kind else {}),
            **sources.trusted_code(trusts),
        },
        secret=spec.model.secret_ref.name if spec.model.secret_ref else None,
        placement=job_placement(spec),
    )
    return _job(owner, work, settings)


def build_stage_job(
    owner: Owner, artifact: dict[str, Any], stage: str, attempt: int, inputs: StageInputs, settings: Settings
) -> dict[str, Any]:
    """The Job of one stage of an artifact, named ``job_name(artifact's name, stage, attempt)``.

    Args:
        owner: the ModelArtifact.
        artifact: the same as the API server returns it.
        stage: one of ``stages(artifact)``.
        attempt: from 1.
        inputs: what comes from elsewhere.
        settings: the installation's.
    """
    spec = artifact["spec"]
    expected = int(spec["expectedBytes"])
    env = {
        "SLIPWAY_SOURCE": spec["source"]["uri"],
        "SLIPWAY_REVISION": spec["source"]["commit"],
        "SLIPWAY_EXPECTED_BYTES": str(expected),
        **sources.trusted_code(stage == "fetch" and spec["source"].get("code") is True),
    }
    if spec["recipe"]["method"] != "source":
        env |= {"SLIPWAY_METHOD": spec["recipe"]["method"], "SLIPWAY_LEVEL": spec["recipe"]["level"]}
    work = _Work(
        name=job_name(owner.name, stage, attempt),
        stage=stage,
        labels={"artifact": owner.name},
        env=env,
        subject=Subject(expected, inputs.facts),
        store_claim=owner.name,
        parent_claim=inputs.parent_claim,
        secret=inputs.secret,
        placement=inputs.placement,
    )
    return _job(owner, work, settings)


def build_benchmark_job(
    owner: Owner,
    spec: ModelDeploymentSpec,
    plan: Plan,
    source_claim: str,
    settings: Settings,
    attempt: int,
    revision: str,
) -> dict[str, Any]:
    """The short benchmark of an available endpoint, once for a revision.

    Its name is ``job_name(revision, "benchmark", attempt)``; it has the label ``slipway.dev/revision``.
    ``source_claim`` is the source artifact's claim, for the tokenizer.
    """
    metrics = engine_named(settings, plan.engine).metrics
    # Of several pods any may answer, with counters of its own.
    alone = spec.replicas == 1 and spec.autoscaling is None
    guesses = alone and spec.engine and spec.engine.speculative and metrics.drafted
    work = _Work(
        name=job_name(revision, "benchmark", attempt),
        stage="benchmark",
        labels={"model": owner.name, "revision": revision},
        env={
            "SLIPWAY_ENDPOINT": service_url(owner.name, owner.namespace, settings),
            "SLIPWAY_MODEL_NAME": names.served_name(owner.name, spec),
            "SLIPWAY_METRICS_PATH": metrics.path,
            "SLIPWAY_METRICS_PREFIX": metrics.prefix,
            **({"SLIPWAY_GUESSES": f"{metrics.accepted} {metrics.drafted}"} if guesses else {}),
            **BENCHMARK,
            **({"SLIPWAY_BENCHMARK_ROUTE": contract.EMBEDDINGS} if plan.embeds else {}),
        },
        parent_claim=source_claim,
        placement=job_placement(spec, plan),
    )
    return _job(owner, work, settings)


def _job(owner: Owner, work: _Work, settings: Settings) -> dict[str, Any]:
    labels = names.labels(work.stage, names.JOB_COMPONENT, stage=work.stage, **work.labels)
    size = stage_size(work.stage, work.subject, settings)
    return {
        **child(owner, JOB, labels, name=work.name),
        "spec": {
            # Attempts are the operator's: it alone knows which failures another try can mend.
            "backoffLimit": 0,
            "activeDeadlineSeconds": size.deadline_seconds,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
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


def _pod_spec(work: _Work, size: JobSize, settings: Settings) -> dict[str, Any]:
    volumes, mounts = _volumes(work, settings)
    outside = sources.environment(settings) if work.stage in HUB_STAGES else {}
    container = {
        "name": CONTAINER,
        "image": settings.images.runtime,
        "imagePullPolicy": settings.images.pull_policy,
        "command": [PROGRAM, work.stage],
        "env": pod.env_list({"HOME": "/tmp", **outside, **work.env}),  # noqa: S108 - an emptyDir
        "resources": size.resources(),
        "securityContext": pod.container_security(),
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    return {
        **pod.pod_basics(settings),
        **work.placement.fields(),
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": volumes,
    }


def _volumes(work: _Work, settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and their mounts: scratch, own store, parent's store, source's claim, credential, CA."""
    volumes, mounts = [pod.scratch("tmp", SCRATCH_LIMIT)], [pod.mount("tmp", "/tmp")]  # noqa: S108 - an emptyDir
    if work.store_claim:
        volumes.append(pod.claim_volume("store", work.store_claim))
        mounts.append(pod.mount("store", contract.STORE))
    if work.parent_claim:
        volumes.append(pod.claim_volume("parent", work.parent_claim, read_only=True))
        mounts.append(pod.mount("parent", contract.PARENT, read_only=True))
    if work.stage in HUB_STAGES:
        more, theirs = sources.volumes(work.env["SLIPWAY_SOURCE"], work.secret, settings)
        volumes, mounts = [*volumes, *more], [*mounts, *theirs]
    return volumes, mounts
