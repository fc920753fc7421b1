"""The chain of ModelArtifacts of one plan: source, f16, level; content-addressed, so that they are shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from slipway.api import API_VERSION
from slipway.api.modeldeployment import ModelDeploymentSpec, Store
from slipway.manifests.names import STORE_COMPONENT, digest, labels, slug
from slipway.manifests.owner import Owner, owner_reference
from slipway.plan.companions import Companion
from slipway.plan.decision import Plan
from slipway.plan.merging import merged
from slipway.plan.pruning import prune_of, prune_options
from slipway_runtime.contract import MATRIX, MERGED, SHORT, SPARSE

NAME_LIMIT = 50
"""Job names append a stage and an attempt, and stay within 63."""
FALLBACK_SLUG = "model"
MATRIX_PART = 128
MATRIX_LEAST = 4 << 20
CONVERTED = ("F16", "BF16")
"""Levels of 16 bits, which the converter makes of the source; BF16 from f16 would have lost its range."""


@dataclass(frozen=True)
class Made:
    """One step of a chain: what is made of the artifact before it.

    Attributes:
        method: ``source``, or a name of ``slipway_runtime.methods``.
        level: what the method makes; None for the source.
        expected_bytes: of the result.
        options: what else the method is asked for, name to value.
        inputs: further artifacts that it reads, name for the method to name of the artifact.
    """

    method: str
    level: str | None
    expected_bytes: int
    options: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def recipe(self) -> list[Any]:
        """What the artifact's name is made of; options and inputs only where there are any."""
        more = [dict(one) for one in (self.options, self.inputs) if one]
        return [self.method, self.level, *more]


@dataclass(frozen=True)
class ArtifactPlan:
    """One ModelArtifact to be.

    Attributes:
        name: ``<model-slug>-<source|f16|level>-<hash10>``, at most 50 characters.
        made: how, and how large: by its size claim, memory and deadline are computed.
        parent: name of the artifact that it is made from; None for the source.
        store: the user's wishes for the claim; no part of the name.
    """

    name: str
    uri: str
    commit: str
    made: Made
    parent: str | None
    store: Store | None

    @property
    def level(self) -> str:
        """For people: its level, ``source`` of a source."""
        return self.made.level or "source"


def artifact_chain(
    spec: ModelDeploymentSpec,
    commit: str,
    plan: Plan,
    companions: Iterable[Companion] = (),
    inputs: Mapping[str, str] = MappingProxyType({}),
) -> list[ArtifactPlan]:
    """Source, f16 and the level, parents first; a level of 16 bits comes right after the source.

    What reshapes the model comes right after the source, and stands in its place for all that follows. An
    engine that reads safetensors and quantises while it loads, or not at all, has only these; what a Job
    makes as safetensors is made right of them. ``companions.model_chain`` knows the last two arguments.

    Args:
        spec: the user's wish.
        commit: of the model.
        plan: what was decided.
        companions: with their artifacts; some may be merged.
        inputs: further artifacts that the method reads.
    """
    steps = [Made("source", None, plan.sizes.source), *reshaping(spec, plan, companions)]
    if plan.imatrix:
        return _with_matrix(spec, commit, plan, steps)
    if plan.form == "gguf":
        if plan.level not in CONVERTED:
            steps.append(Made("gguf", "F16", plan.sizes.f16))
        steps.append(Made("gguf", plan.level, plan.sizes.level))
    elif plan.made:
        steps.append(Made(plan.method, plan.level, plan.sizes.level, dict(plan.options), inputs))
    return chain_of(spec.model.source, commit, steps, spec.store)


def _with_matrix(
    spec: ModelDeploymentSpec, commit: str, plan: Plan, steps: Sequence[Made]
) -> list[ArtifactPlan]:
    """f16, its importance matrix, and the level, which is made of both."""
    uri, f16 = spec.model.source, Made("gguf", "F16", plan.sizes.f16)
    measured = chain_of(uri, commit, [*steps, f16, Made("imatrix", MATRIX, matrix_bytes(plan))], spec.store)
    inputs = {"imatrix": measured[-1].name}
    level = Made("gguf", plan.level, plan.sizes.level, inputs=inputs)
    return [*measured, chain_of(uri, commit, [*steps, f16, level], spec.store)[-1]]


def matrix_bytes(plan: Plan) -> int:
    """A bound of an importance matrix: a 32-bit sum for each column, of which a tensor of f16 has hundreds.

    1.27 MB for SmolLM2, whose f16 has 271.
    """
    return max(MATRIX_LEAST, plan.sizes.f16 // MATRIX_PART)


def reshaping(spec: ModelDeploymentSpec, plan: Plan, companions: Iterable[Companion]) -> list[Made]:
    """The steps between source and quantisation: merge, prune; as large as the source at most."""
    adapters, prune = merged(companions), prune_of(spec)
    steps = [merge_step(adapters, plan.sizes.source)] if adapters else []
    if prune:
        level = SPARSE if prune.method else SHORT
        steps.append(Made("prune", level, plan.sizes.source, prune_options(prune)))
    return steps


def merge_step(adapters: Sequence[Companion], size: int) -> Made:
    """Adapters added to the weights in their order; weights are options, commits in the inputs' names.

    Args:
        adapters: at least one, with the names of their artifacts.
        size: of the base, bytes: the result has the same.
    """
    options = {f"adapter-{place:02d}": f"{one.name}={one.weight}" for place, one in enumerate(adapters, 1)}
    if any(one.whole for one in adapters):
        options["whole"] = "true"
    return Made("merge", MERGED, size, options, {one.key: one.artifacts[0] for one in adapters})


def source_name(spec: ModelDeploymentSpec, commit: str) -> str:
    """Name of the model's source artifact."""
    return chain_of(spec.model.source, commit, [Made("source", None, 0)], spec.store)[0].name


def chain_of(
    uri: str,
    commit: str,
    steps: Sequence[Made],
    store: Store | None,
    beside: str = "",
) -> list[ArtifactPlan]:
    """The artifacts of these steps, each made from the one before it.

    Args:
        uri: of the source.
        commit: of it.
        steps: how each is made.
        store: where they lie.
        beside: artifact on whose node or zone they have to lie; empty for anywhere.
    """
    place = [beside] if beside else []
    chain: list[ArtifactPlan] = []
    recipe: list[list[Any]] = []
    for made in steps:
        recipe.append(made.recipe)
        name = _name(uri, made.level or made.method, digest([uri, commit, recipe, *place]))
        parent = chain[-1].name if chain else None
        chain.append(ArtifactPlan(name, uri, commit, made, parent, store))
    return chain


def _name(uri: str, kind: str, hashed: str) -> str:
    """The hash alone makes it unique; the rest is for people."""
    ending = f"-{slug(kind)}-{hashed}"
    model = slug(uri.rstrip("/").rsplit("/", 1)[-1]) or FALLBACK_SLUG
    return model[: NAME_LIMIT - len(ending)].rstrip("-") + ending


def build_artifact(plan: ArtifactPlan, owners: Sequence[Owner], namespace: str) -> dict[str, Any]:
    """The ModelArtifact; every owner is a plain (non-controller) reference, since several may share it."""
    made = plan.made
    recipe: dict[str, Any] = {"method": made.method} | ({"level": made.level} if made.level else {})
    if made.options:
        recipe["options"] = dict(made.options)
    spec: dict[str, Any] = {
        "source": {"uri": plan.uri, "commit": plan.commit},
        "recipe": recipe,
        "expectedBytes": made.expected_bytes,
    }
    if made.inputs:
        spec["inputs"] = [{"name": name, "artifact": one} for name, one in made.inputs.items()]
    if plan.parent:
        spec["parent"] = plan.parent
    if store := plan.store.model_dump(by_alias=True, exclude_none=True) if plan.store else {}:
        spec["store"] = store
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelArtifact",
        "metadata": {
            "name": plan.name,
            "namespace": namespace,
            "labels": labels("artifact", STORE_COMPONENT, artifact=plan.name),
            "ownerReferences": [owner_reference(owner, controller=False) for owner in owners],
        },
        "spec": spec,
    }
