"""Which artifacts a plan is made of: source, what reshapes it, f16, level. For companions, passes, render."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from slipway.api.modeldeployment import ModelDeploymentSpec, Store
from slipway.manifests.artifacts import CONVERTED, ArtifactPlan, Made, chain_of, on_claims
from slipway.plan.companions import Companion
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts
from slipway.plan.memory import LEVEL_BITS, sizes
from slipway.plan.merging import merged
from slipway.plan.pruning import prune_of, prune_options, pruned_facts
from slipway_runtime.contract import MATRIX, MERGED, NEED_MATRIX, NO_MATRIX, SHORT, SPARSE
from slipway_runtime.methods import GGUF

MATRIX_PART = 128
MATRIX_LEAST = 4 << 20


def artifact_chain(
    spec: ModelDeploymentSpec,
    commit: str,
    plan: Plan,
    companions: Iterable[Companion] = (),
    inputs: Mapping[str, str] = MappingProxyType({}),
) -> list[ArtifactPlan]:
    """Source, f16 and the level, parents first; a level of 16 bits comes right after the source.

    What reshapes the model comes right after the source, and stands in its place for all that follows. An
    engine that reads safetensors and quantises while it loads, or not at all, has only these; so has a model
    that comes as GGUF: one level of it, untouched. What a Job makes as safetensors is made right of them.
    ``companions.model_chain`` knows the last two arguments.

    Args:
        spec: the user's wish.
        commit: of the model.
        plan: what was decided.
        companions: with their artifacts; some may be merged.
        inputs: further artifacts that the method reads.
    """
    return _chain(spec, commit, plan, spec.store, companions, inputs)


def compared_artifacts(
    spec: ModelDeploymentSpec, commit: str, plan: Plan, facts: ModelFacts, companions: Iterable[Companion]
) -> dict[str, ArtifactPlan]:
    """Every artifact by name that the levels of ``spec.optimize.compare`` take, parents first.

    Made of the same f16 as the served one, and on claims: nobody serves them. Nothing where no level of
    llama.cpp is served, or the model comes quantised.
    """
    levels = (spec.optimize.compare if spec.optimize else None) or []
    wished = bool(spec.optimize and spec.optimize.imatrix)
    found: dict[str, ArtifactPlan] = {}
    if plan.form == GGUF and not facts.quantization and not plan.source_files:
        left = pruned_facts(spec, facts)
        for level in levels:
            if level in LEVEL_BITS:
                matrix = level in NEED_MATRIX or (wished and level not in NO_MATRIX)
                other = replace(plan, level=level, sizes=sizes(left, level), imatrix=matrix)
                chain = _chain(spec, commit, other, on_claims(spec.store), companions, {})
                found |= {one.name: one for one in chain}
    return found


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


def matrix_bytes(plan: Plan) -> int:
    """A bound of an importance matrix: a 32-bit sum for each column, of which a tensor of f16 has hundreds.

    1.27 MB for SmolLM2, whose f16 has 271.
    """
    return max(MATRIX_LEAST, plan.sizes.f16 // MATRIX_PART)


def first_name(spec: ModelDeploymentSpec, commit: str, plan: Plan) -> str:
    """Name of the model's first artifact, beside which its companions lie: known before their names are."""
    if plan.source_files:
        return artifact_chain(spec, commit, plan)[0].name
    source = [Made("source", None, 0)]
    return chain_of(spec.model.source, commit, source, on_claims(spec.store), code=_code(spec))[0].name


def _code(spec: ModelDeploymentSpec) -> bool:
    return spec.model.trust_remote_code is True


def _chain(
    spec: ModelDeploymentSpec,
    commit: str,
    plan: Plan,
    store: Store | None,
    companions: Iterable[Companion],
    inputs: Mapping[str, str],
) -> list[ArtifactPlan]:
    uri, code = spec.model.source, _code(spec)
    if plan.source_files:
        return chain_of(uri, commit, [Made("source", plan.level, plan.sizes.source)], store, code=code)
    steps = [Made("source", None, plan.sizes.source), *reshaping(spec, plan, companions)]
    before: list[ArtifactPlan] = []
    if plan.form == GGUF:
        read: dict[str, str] = {}
        if plan.level not in CONVERTED:
            steps.append(Made(GGUF, "F16", plan.sizes.f16))
        if plan.imatrix:
            matrix = Made("imatrix", MATRIX, matrix_bytes(plan))
            before = chain_of(uri, commit, [*steps, matrix], on_claims(store), code=code)
            read = {"imatrix": before[-1].name}
        steps.append(Made(GGUF, plan.level, plan.sizes.level, inputs=read))
    elif plan.made:
        steps.append(Made(plan.method, plan.level, plan.sizes.level, dict(plan.options), inputs))
    chain = chain_of(uri, commit, steps, store, code=code)
    return [*before, chain[-1]] if before else chain
