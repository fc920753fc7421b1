"""The chain of ModelArtifacts of one plan: source, f16, level; content-addressed, so that they are shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway.api import API_VERSION
from slipway.api.modeldeployment import ModelDeploymentSpec, Store
from slipway.manifests.names import STORE_COMPONENT, digest, labels, slug
from slipway.manifests.owner import Owner, owner_reference
from slipway.plan.decision import Plan

NAME_LIMIT = 50
"""Job names append a stage and an attempt, and stay within 63."""
FALLBACK_SLUG = "model"
CODE = "code"
"""What tells the name of an artifact with the repository's code from one without."""
CONVERTED = ("F16", "BF16")
"""Levels of 16 bits, which the converter makes of the source; BF16 from f16 would have lost its range."""


@dataclass(frozen=True)
class ArtifactPlan:
    """One ModelArtifact to be.

    Attributes:
        name: ``<model-slug>-<source|f16|level>-<hash10>``, at most 50 characters.
        method: ``source`` or ``gguf``.
        level: ``F16`` or a level; None for the source.
        parent: name of the artifact that it is made from; None for the source.
        expected_bytes: size by which claim, memory and deadline are computed.
        store: the user's wishes for the claim; no part of the name.
        code: the repository's own Python files are fetched, too.
    """

    name: str
    uri: str
    commit: str
    method: str
    level: str | None
    parent: str | None
    expected_bytes: int
    store: Store | None
    code: bool = False


def artifact_chain(spec: ModelDeploymentSpec, commit: str, plan: Plan) -> list[ArtifactPlan]:
    """Source, f16 and the level, parents first; a level of 16 bits comes right after the source.

    An engine that reads safetensors and quantises while it loads, or not at all, has the source alone.
    """
    steps: list[tuple[str, str | None, int]] = [("source", None, plan.sizes.source)]
    if plan.form == "gguf":
        if plan.level not in CONVERTED:
            steps.append(("gguf", "F16", plan.sizes.f16))
        steps.append(("gguf", plan.level, plan.sizes.level))
    return chain_of(spec.model.source, commit, steps, spec.store, code=spec.model.trust_remote_code is True)


def chain_of(
    uri: str,
    commit: str,
    steps: Sequence[tuple[str, str | None, int]],
    store: Store | None,
    beside: str = "",
    *,
    code: bool = False,
) -> list[ArtifactPlan]:
    """The artifacts of these steps, each made from the one before it.

    Args:
        uri: of the source.
        commit: of it.
        steps: method, level and expected bytes of each.
        store: where they lie.
        beside: artifact on whose node or zone they have to lie; empty for anywhere.
        code: with the repository's own Python files.
    """
    more = [*([beside] if beside else []), *([CODE] if code else [])]
    chain: list[ArtifactPlan] = []
    recipe: list[list[str | None]] = []
    for method, level, expected_bytes in steps:
        recipe.append([method, level])
        name = _name(uri, level or method, digest([uri, commit, recipe, *more]))
        parent = chain[-1].name if chain else None
        chain.append(ArtifactPlan(name, uri, commit, method, level, parent, expected_bytes, store, code))
    return chain


def _name(uri: str, kind: str, hashed: str) -> str:
    """The hash alone makes it unique; the rest is for people."""
    ending = f"-{slug(kind)}-{hashed}"
    model = slug(uri.rstrip("/").rsplit("/", 1)[-1]) or FALLBACK_SLUG
    return model[: NAME_LIMIT - len(ending)].rstrip("-") + ending


def build_artifact(plan: ArtifactPlan, owners: Sequence[Owner], namespace: str) -> dict[str, Any]:
    """The ModelArtifact; every owner is a plain (non-controller) reference, since several may share it."""
    recipe = {"method": plan.method} | ({"level": plan.level} if plan.level else {})
    spec: dict[str, Any] = {
        "source": {"uri": plan.uri, "commit": plan.commit, **({"code": True} if plan.code else {})},
        "recipe": recipe,
        "expectedBytes": plan.expected_bytes,
    }
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
