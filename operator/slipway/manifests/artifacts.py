"""The chain of ModelArtifacts of one plan: source, f16, level; content-addressed, so that they are shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.api import API_VERSION
from slipway.api.modeldeployment import REMOTE, Store
from slipway.manifests.names import STORE_COMPONENT, digest, labels, slug
from slipway.manifests.owner import Owner, owner_reference
from slipway_runtime.methods import SAFETENSORS, methods

NAME_LIMIT = 50
"""Job names append a stage and an attempt, and stay within 63."""
FALLBACK_SLUG = "model"
REMOTE_FIELDS = ("type", "repository", "secretRef")
CODE = "code"
"""What tells the name of an artifact with the repository's code from one without."""
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
        store: the user's wishes for the claim and what else keeps it; no part of the name.
        pushed: pods read it, so it goes where the store says.
        code: the repository's own Python files are fetched, too.
    """

    name: str
    uri: str
    commit: str
    made: Made
    parent: str | None
    store: Store | None
    pushed: bool = False
    code: bool = False

    @property
    def level(self) -> str:
        """For people: its level, ``source`` of a source."""
        return self.made.level or "source"


def _compares(made: Made) -> bool:
    """Whether what the unquantised model says lies beside it: f16 keeps it, PyTorch's measure needs it."""
    known = methods().get(made.method)
    return known is not None and (known.FORM == SAFETENSORS or made.level == "F16")


def chain_of(
    uri: str,
    commit: str,
    steps: Sequence[Made],
    store: Store | None,
    beside: str = "",
    *,
    code: bool = False,
) -> list[ArtifactPlan]:
    """The artifacts of these steps, each made from the one before it.

    Args:
        uri: of the source.
        commit: of it.
        steps: how each is made.
        store: where they lie.
        beside: artifact on whose node or zone they have to lie; empty for anywhere.
        code: with the repository's own Python files.
    """
    more = [*([beside] if beside else []), *([CODE] if code else [])]
    chain: list[ArtifactPlan] = []
    recipe: list[list[Any]] = []
    for made in steps:
        recipe.append(made.recipe)
        # What others build on must be on a claim: what is kept elsewhere is nobody's parent.
        last = made is steps[-1]
        kept = [store.type, store.repository] if store and store.type in REMOTE and last else []
        name = _name(uri, made.level or made.method, digest([uri, commit, recipe, *more, *kept]))
        parent = chain[-1].name if chain else None
        chain.append(ArtifactPlan(name, uri, commit, made, parent, store, pushed=last, code=code))
    return chain


def _name(uri: str, kind: str, hashed: str) -> str:
    """The hash alone makes it unique; the rest is for people."""
    ending = f"-{slug(kind)}-{hashed}"
    model = slug(uri.rstrip("/").rsplit("/", 1)[-1]) or FALLBACK_SLUG
    return model[: NAME_LIMIT - len(ending)].rstrip("-") + ending


def on_claims(store: Store | None) -> Store | None:
    """The same store for what no pod that serves will read: it stays on its claim."""
    if store is None or store.type not in REMOTE:
        return store
    return store.model_copy(update={"type": None, "repository": None, "secret_ref": None})


def _store(plan: ArtifactPlan) -> dict[str, Any]:
    """The store of one artifact: what is made on the way to what pods read stays on its claim."""
    dumped = plan.store.model_dump(by_alias=True, exclude_none=True) if plan.store else {}
    return {key: value for key, value in dumped.items() if plan.pushed or key not in REMOTE_FIELDS}


def is_remote(artifact: Mapping[str, Any]) -> bool:
    """Whether a ModelArtifact is kept in a registry, beside or in place of its claim."""
    return (artifact["spec"].get("store") or {}).get("type") in REMOTE


def lies_beside(artifact: Mapping[str, Any]) -> bool:
    """Whether a source's name says that it lies on the node or in the zone of another artifact."""
    spec = artifact["spec"]
    source, store = spec["source"], Store.model_validate(spec.get("store") or {})
    code = source.get("code") is True
    (anywhere,) = chain_of(source["uri"], source["commit"], [Made("source", None, 0)], store, code=code)
    return bool(spec["recipe"]["method"] == "source" and artifact["metadata"]["name"] != anywhere.name)


def remote_uri(artifact: Mapping[str, Any]) -> str:
    """Where a remote artifact goes: ``oci://REPOSITORY:NAME``.

    The name carries the hash of source and recipe, so what is there under it is what would be made.
    """
    store, name = artifact["spec"]["store"], artifact["metadata"]["name"]
    return f"{store['type']}://{store['repository']}:{name}"


def build_artifact(
    plan: ArtifactPlan, owners: Sequence[Owner], namespace: str, logits: int = 0
) -> dict[str, Any]:
    """The ModelArtifact; every owner is a plain (non-controller) reference, since several may share it.

    ``logits`` is ``plan.memory.logits_bytes`` of the model; 0 for what is not compared.
    """
    made = plan.made
    recipe: dict[str, Any] = {"method": made.method} | ({"level": made.level} if made.level else {})
    if made.options:
        recipe["options"] = dict(made.options)
    spec: dict[str, Any] = {
        "source": {"uri": plan.uri, "commit": plan.commit, **({"code": True} if plan.code else {})},
        "recipe": recipe,
        "expectedBytes": made.expected_bytes,
    }
    if logits and _compares(made):
        spec["workBytes"] = logits
    if made.inputs:
        spec["inputs"] = [{"name": name, "artifact": one} for name, one in made.inputs.items()]
    if plan.parent:
        spec["parent"] = plan.parent
    if store := _store(plan):
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
