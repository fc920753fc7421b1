"""Artifacts, volumes, mounts of what is served beside the model. Called by deployment, the pass, render."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import Mounted
from slipway.manifests import names
from slipway.manifests.artifacts import ArtifactPlan, Made, chain_of, on_claims
from slipway.manifests.chains import artifact_chain, first_name
from slipway.manifests.owner import PublishedArtifact, PublishedCompanion
from slipway.manifests.places import Place
from slipway.plan import merging
from slipway.plan.capacity import spreads
from slipway.plan.companions import CALIBRATION, DRAFT_LEVEL, LORA, Companion, Wanted, wanted
from slipway.plan.decision import Plan
from slipway.plan.memory import sizes

FOLDER = "/companions"
"""Where each has a folder of its own in the engine's container."""


def model_chain(
    spec: ModelDeploymentSpec, commit: str, plan: Plan, companions: Iterable[Companion]
) -> list[ArtifactPlan]:
    """The model's own chain; adapters in it and a text to calibrate on are named by their artifacts."""
    named = with_chains(spec, companions, plan.form, first_name(spec, commit, plan))
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
        source: name of the model's first artifact, as ``chains.first_name`` knows it.
    """
    steps = [Made("source", None, one.download_bytes)]
    if one.facts is not None and form == "gguf":
        made = sizes(one.facts, DRAFT_LEVEL)
        steps += [Made("gguf", "F16", made.f16), Made("gguf", DRAFT_LEVEL, made.level)]
    # An adapter is weights alone.
    code = spec.model.trust_remote_code is True and one.kind != LORA
    # What Jobs alone read stays on a claim, and then beside what they read it with.
    read_by_jobs = not merging.beside([one])
    store = on_claims(spec.store) if read_by_jobs else spec.store
    anywhere = chain_of(one.uri, one.commit, steps, store, code=code)
    spread = spec.shares_claims if read_by_jobs else spreads(spec)
    if spread or anywhere[0].name == source:
        return anywhere
    return chain_of(one.uri, one.commit, steps, store, source, code=code)


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
    chain: Sequence[ArtifactPlan], spec: ModelDeploymentSpec, companions: Iterable[Companion], plan: Plan
) -> list[ArtifactPlan]:
    """The model's chain, then those of its companions; what they share is there once."""
    first = first_name(spec, chain[0].commit, plan)
    more = (step for one in companions for step in companion_chain(spec, one, plan.form, first))
    found = {one.name: one for one in more}
    return [*chain, *(one for name, one in found.items() if name not in {step.name for step in chain})]


def published_companion(one: Companion, place: Place, digest: str) -> PublishedCompanion:
    """The companion as it is mounted, once its artifact is ready."""
    mounted = Mounted(one.name, one.kind, f"{FOLDER}/{one.key}", one.rank)
    return PublishedCompanion(one.key, mounted, place, digest)


def volumes(artifact: PublishedArtifact) -> dict[str, Place]:
    """Where each companion lies, by the name of its volume."""
    return {f"companion-{one.key}": one.place for one in artifact.companions}


def paths(artifact: PublishedArtifact) -> dict[str, str]:
    """Where the engine's container sees each, by the name of its volume."""
    return {f"companion-{one.key}": one.mounted.path for one in artifact.companions}


def marks(artifact: PublishedArtifact) -> dict[str, str]:
    """Another companion is another pod, though its name may be the same; nothing without any."""
    if not artifact.companions:
        return {}
    digests = [[one.key, one.digest] for one in artifact.companions]
    return {names.COMPANIONS_DIGEST: names.digest(digests)}
