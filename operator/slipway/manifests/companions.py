"""Artifacts, volumes, mounts of what is served beside the model. Called by deployment, the pass, render."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import Mounted
from slipway.manifests import names, pod
from slipway.manifests.artifacts import ArtifactPlan, Made, artifact_chain, chain_of, source_name
from slipway.manifests.owner import PublishedArtifact, PublishedCompanion
from slipway.plan.capacity import spreads
from slipway.plan.companions import CALIBRATION, DRAFT_LEVEL, Companion, Wanted, wanted
from slipway.plan.decision import Plan
from slipway.plan.memory import sizes
from slipway_runtime.contract import PUBLISHED

FOLDER = "/companions"
"""Where each has a folder of its own in the engine's container."""


def model_chain(
    spec: ModelDeploymentSpec, commit: str, plan: Plan, companions: Iterable[Companion]
) -> list[ArtifactPlan]:
    """The model's own chain; adapters in it and a text to calibrate on are named by their artifacts."""
    named = with_chains(spec, companions, plan.form, source_name(spec, commit))
    texts = {one.key: one.artifacts[-1] for one in named if one.kind == CALIBRATION}
    return artifact_chain(spec, commit, plan, named, texts)


def companion_chain(spec: ModelDeploymentSpec, one: Companion, form: str, source: str) -> list[ArtifactPlan]:
    """The source alone; of a draft for an engine of GGUF also f16 and its level.

    Where a volume is on one node or in one zone, each model has its companions for itself, beside it: a pod
    mounts both.

    Args:
        spec: for the store.
        one: the companion.
        form: of the served files, as of the plan.
        source: name of the model's source artifact.
    """
    steps = [Made("source", None, one.download_bytes)]
    if one.facts is not None and form == "gguf":
        made = sizes(one.facts, DRAFT_LEVEL)
        steps += [Made("gguf", "F16", made.f16), Made("gguf", DRAFT_LEVEL, made.level)]
    anywhere = chain_of(one.uri, one.commit, steps, spec.store)
    if spreads(spec) or anywhere[0].name == source:
        return anywhere
    return chain_of(one.uri, one.commit, steps, spec.store, source)


def with_chains(
    spec: ModelDeploymentSpec, companions: Iterable[Companion], form: str, source: str
) -> tuple[Companion, ...]:
    """The companions with the names of their artifacts, as a revision pins them."""
    chains = ((one, companion_chain(spec, one, form, source)) for one in companions)
    return tuple(replace(one, artifacts=tuple(step.name for step in chain)) for one, chain in chains)


def inquiries(spec: ModelDeploymentSpec, inquiry: str) -> dict[str, Wanted]:
    """Hash of each companion's inspection to the companion; ``inquiry`` is the model's own."""
    return {names.digest([inquiry, one.key])[: len(inquiry)]: one for one in wanted(spec)}


def with_companions(
    chain: Sequence[ArtifactPlan], spec: ModelDeploymentSpec, companions: Iterable[Companion], form: str
) -> list[ArtifactPlan]:
    """The model's chain, then those of its companions; what they share is there once."""
    more = (step for one in companions for step in companion_chain(spec, one, form, chain[0].name))
    found = {one.name: one for one in more}
    return [*chain, *(one for name, one in found.items() if name not in {step.name for step in chain})]


def published_companion(one: Companion, claim: str, digest: str) -> PublishedCompanion:
    """The companion as it is mounted, once its artifact is ready."""
    mounted = Mounted(one.name, one.kind, f"{FOLDER}/{one.key}", one.rank)
    return PublishedCompanion(one.key, mounted, claim, digest)


def volumes(artifact: PublishedArtifact) -> list[dict[str, Any]]:
    """A volume for each companion."""
    return [pod.claim_volume(_volume(one), one.claim, read_only=True) for one in artifact.companions]


def mounts(artifact: PublishedArtifact) -> list[dict[str, Any]]:
    """Their mounts in the engine's container."""
    return [
        pod.mount(_volume(one), one.mounted.path, read_only=True, sub_path=PUBLISHED)
        for one in artifact.companions
    ]


def marks(artifact: PublishedArtifact) -> dict[str, str]:
    """Another companion is another pod, though its name may be the same; nothing without any."""
    if not artifact.companions:
        return {}
    digests = [[one.key, one.digest] for one in artifact.companions]
    return {names.COMPANIONS_DIGEST: names.digest(digests)}


def _volume(one: PublishedCompanion) -> str:
    return f"companion-{one.key}"
