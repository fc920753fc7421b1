"""The Jobs of every stage: inspect and benchmark for a ModelDeployment, the rest for a ModelArtifact.

Called by the passes and ``slipway render``; what a Job is given is said in ``slipway_runtime.contract``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import engine_named
from slipway.manifests import names, sources
from slipway.manifests.artifacts import CONVERTED, is_remote, remote_uri
from slipway.manifests.job_pod import REMOTE_STAGES, Work, build_job, with_memory
from slipway.manifests.job_sizes import Subject
from slipway.manifests.owner import Owner
from slipway.manifests.placement import Placement, job_placement
from slipway.manifests.places import Place
from slipway.manifests.service import service_url
from slipway.plan.companions import LORA, Wanted, role
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts
from slipway.settings import Settings
from slipway_runtime import contract
from slipway_runtime.methods import GGUF, SAFETENSORS, methods

__all__ = [
    "StageInputs",
    "build_benchmark_job",
    "build_inspect_job",
    "build_stage_job",
    "job_name",
    "stages",
    "with_memory",
]

READERS = ("merge", "prune", "distill", "quantize", "evaluate")
"""Stages that get what the recipe reads beside the parent."""
DATA = "data"
"""Form of what is no model: nothing of it is measured."""
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
        inputs: name of each further artifact that the recipe reads to its claim.
        facts: of the model, for the memory; None when they can't be read: then sizes are guessed.
        placement: where the engine may run, so that it can read the volume.
        kueue: Kueue's labels of who uses it.
    """

    secret: str | None = None
    parent_claim: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    facts: ModelFacts | None = None
    placement: Placement = field(default_factory=Placement)
    kueue: tuple[tuple[str, str], ...] = ()


def stages(artifact: dict[str, Any]) -> tuple[str, ...]:
    """Stages of an artifact's kind, in order: fetch; or what makes it, evaluate (only a model), publish.

    What a registry keeps is looked for there first, and taken there in the end.
    """
    recipe = artifact["spec"]["recipe"]
    if recipe["method"] == "source":
        made: tuple[str, ...] = ("fetch",)
    else:
        measured = () if form_of(recipe["method"]) == DATA else ("evaluate",)
        made = (making_stage(recipe["method"], recipe["level"]), *measured, "publish")
    return ("recall", *made, "push") if is_remote(artifact) else made


def making_stage(method: str, level: str) -> str:
    """The stage that makes a level of a method."""
    return "convert" if method == GGUF and level in CONVERTED else methods()[method].STAGE


def form_of(method: str) -> str:
    """What a method leaves: ``gguf`` or ``safetensors``; a source is taken for what it says itself."""
    known = methods().get(method)
    return known.FORM if known else SAFETENSORS


def stage_image(method: str, stage: str, settings: Settings) -> str:
    """Image of a stage: what makes and measures the method's form needs its tools, the rest does not."""
    known = methods().get(method)
    tools = known is not None and stage not in ("fetch", "publish") and known.IMAGE == "optimizer"
    return settings.images.optimizer if tools else settings.images.runtime


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
    work = Work(
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
    return build_job(owner, work, settings)


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
        **sources.trusted_code(spec["source"].get("code") is True),
    }
    recipe = spec["recipe"]
    env |= {"SLIPWAY_METHOD": recipe["method"]} if recipe["method"] != "source" else {}
    env |= {"SLIPWAY_LEVEL": recipe["level"]} if "level" in recipe else {}
    if stage in REMOTE_STAGES:
        env |= _remote(artifact, stage)
    if spec.get("workBytes") and stage == "evaluate":
        env["SLIPWAY_WORK_BYTES"] = str(spec["workBytes"])
    if recipe.get("options"):
        env["SLIPWAY_OPTIONS"] = json.dumps(recipe["options"], sort_keys=True, separators=(",", ":"))
    work = Work(
        name=job_name(owner.name, stage, attempt),
        stage=stage,
        labels={"artifact": owner.name},
        env=env,
        subject=Subject(
            expected,
            inputs.facts,
            form_of(recipe["method"]),
            whole=(recipe.get("options") or {}).get("whole") == "true",
        ),
        store_claim=None if stage == "recall" else owner.name,
        parent_claim=None if stage in REMOTE_STAGES else inputs.parent_claim,
        inputs=inputs.inputs if stage in READERS else {},
        image=stage_image(recipe["method"], stage, settings),
        secret=inputs.secret,
        placement=inputs.placement,
    )
    return build_job(owner, work, settings)


def _remote(artifact: dict[str, Any], stage: str) -> dict[str, str]:
    """Where an artifact is kept beside its claim, and what is kept with it of what was measured."""
    env = {"SLIPWAY_PUSH_TO": remote_uri(artifact)}
    if stage == "push" and (measured := _measured(artifact.get("status") or {})):
        env["SLIPWAY_QUALITY"] = json.dumps(measured, sort_keys=True, separators=(",", ":"))
    return env


def _measured(status: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, the loss of the whole chain, or why it is not known: no parent is kept there."""
    more = {key: status[key] for key in ("chainLoss", "qualityUnknown") if status.get(key)}
    return {**(status.get("quality") or {}), **more}


def build_benchmark_job(
    owner: Owner,
    spec: ModelDeploymentSpec,
    plan: Plan,
    tokenizer: Place,
    settings: Settings,
    attempt: int,
    revision: str,
) -> dict[str, Any]:
    """The short benchmark of an available endpoint, once for a revision.

    Its name is ``job_name(revision, "benchmark", attempt)``; it has the label ``slipway.dev/revision``.
    ``tokenizer`` is where an artifact lies that has the tokenizer: the source, or else what is served.
    """
    metrics = engine_named(settings, plan.engine).metrics
    # Of several pods any may answer, with counters of its own.
    alone = spec.replicas == 1 and spec.autoscaling is None
    guesses = alone and spec.engine and spec.engine.speculative and metrics.drafted
    work = Work(
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
        parent_claim=tokenizer.claim,
        parent=None if tokenizer.claim else tokenizer,
        placement=job_placement(spec, plan),
    )
    return build_job(owner, work, settings)
