"""The pinned plan as a ControllerRevision; written once by the pass, read by every later one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from slipway.manifests.artifacts import lies_beside
from slipway.manifests.names import STORE_COMPONENT, digest, labels
from slipway.manifests.owner import Owner, child
from slipway.plan.companions import Companion
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts
from slipway.resources import REVISION
from slipway.settings import Images, Settings

SPEC_HASH_LABEL = "slipway.dev/spec-hash"
"""Label of a ControllerRevision: ``plan.spec_hash.planning_hash`` of the spec that it was made for."""
LATER: Final = frozenset(
    {
        "base",
        "companions",
        "imatrix",
        "levels",
        "made",
        "options",
        "price",
        "remoteCode",
        "sourceFiles",
        "vocabulary",
        "weight",
        "whole",
    }
)
"""Fields that came later: without them a revision is what it was before, as its name is the hash of it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Pinned:
    """What a revision fixes: nothing of it changes until the spec's planning part does.

    Attributes:
        spec_hash: ``plan.spec_hash.planning_hash`` of the spec.
        uri: the model's source as written.
        commit: what its revision was resolved to.
        images: image references at the time of planning.
        artifacts: names of the artifact chain, source first.
        asked: value of the annotation by which a person wished it, empty when nobody did.
        engine: spec of the ServingEngine that serves, in JSON; empty for a built-in engine.
        companions: what is served beside the model or merged into it, each with its commit and its artifacts.
    """

    spec_hash: str
    uri: str
    commit: str
    facts: ModelFacts
    plan: Plan
    images: Images
    artifacts: tuple[str, ...]
    asked: str = ""
    engine: str = ""
    companions: tuple[Companion, ...] = ()

    def facts_of(self, artifact: str) -> ModelFacts | None:
        """Facts of the model that an artifact of this name is made of; None for one that is no model."""
        found = next((one for one in self.companions if artifact in one.artifacts), None)
        return self.facts if found is None or artifact in self.artifacts else found.facts

    def anchor(self, artifact: Mapping[str, Any]) -> str | None:
        """Claim beside which a companion's source must lie, so that one node can mount both; None for others.

        Volumes of one node or zone are bound by the first pod that mounts them: the Job that fetches a
        companion mounts the model's source, too, and so goes where that is. What every node can read lies
        beside nothing, and the model's source may never be made: its level was found in a registry.
        """
        name = str(artifact["metadata"]["name"])
        sources = {one.artifacts[0] for one in self.companions if one.artifacts} - set(self.artifacts)
        return self.artifacts[0] if name in sources and lies_beside(artifact) else None


def revision_name(owner_name: str, number: int, pinned: Pinned) -> str:
    """``NAME-<hash10>`` over everything that is pinned, and its number: the same plan may be taken again."""
    return f"{owner_name}-{digest([number, _data(pinned)])}"


def build_revision(owner: Owner, number: int, pinned: Pinned) -> dict[str, Any]:
    """The ControllerRevision of ``pinned``; ``number`` is its ``.revision``, one more than the last."""
    own = labels("revision", STORE_COMPONENT, model=owner.name)
    return {
        **child(
            owner,
            REVISION,
            {**own, SPEC_HASH_LABEL: pinned.spec_hash},
            name=revision_name(owner.name, number, pinned),
        ),
        "revision": number,
        "data": _data(pinned),
    }


def read_pinned(raw: dict[str, Any]) -> Pinned:
    """What a ControllerRevision holds.

    Raises:
        ValueError: its data is not ours or of another shape.
    """
    name = (raw.get("metadata") or {}).get("name")
    try:
        data = raw["data"]
        return Pinned(
            spec_hash=str(data["specHash"]),
            uri=str(data["source"]["uri"]),
            commit=str(data["source"]["commit"]),
            facts=_read(ModelFacts, data["facts"]),
            plan=_read(Plan, data["plan"]),
            images=replace(
                Images(),
                runtime=str(data["images"]["runtime"]),
                llamacpp=str(data["images"]["llamacpp"]),
                pinned=str(data["images"].get("engine", "")),
            ),
            artifacts=tuple(str(one) for one in data["artifacts"]),
            asked=str(data.get("asked", "")),
            engine=str(data.get("engine", "")),
            companions=_read(tuple[Companion, ...], data.get("companions", [])),
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise ValueError(
            f"ControllerRevision {name} does not hold a plan of this version ({error!r:.200}); "
            "delete it to plan again"
        ) from error


def pinned_settings(settings: Settings, pinned: Pinned) -> Settings:
    """``settings`` with the pinned images and engine: an upgrade of the operator changes nothing that runs.

    Pull policy and pull secrets stay the installation's: they say how to get an image, not which one.
    """
    fixed = pinned.images
    images = replace(settings.images, runtime=fixed.runtime, llamacpp=fixed.llamacpp, pinned=fixed.pinned)
    others = tuple(one for one in settings.serving_engines if one[0] != pinned.plan.engine)
    own = ((pinned.plan.engine, pinned.engine),) if pinned.engine else ()
    return replace(
        settings, images=images, serving_engines=(*own, *(others if own else settings.serving_engines))
    )


def _data(pinned: Pinned) -> dict[str, Any]:
    return {
        "source": {"uri": pinned.uri, "commit": pinned.commit},
        "facts": _wire(pinned.facts),
        "plan": _wire(pinned.plan),
        "images": {
            "runtime": pinned.images.runtime,
            "llamacpp": pinned.images.llamacpp,
            **({"engine": pinned.images.pinned} if pinned.images.pinned else {}),
        },
        "specHash": pinned.spec_hash,
        "artifacts": list(pinned.artifacts),
        **({"asked": pinned.asked} if pinned.asked else {}),
        **({"engine": pinned.engine} if pinned.engine else {}),
        **({"companions": _wire(pinned.companions)} if pinned.companions else {}),
    }


def _wire(value: Any) -> Any:
    """A dataclass as JSON with camelCase keys; tuples become lists."""
    if is_dataclass(value):
        found = {to_camel(one.name): _wire(getattr(value, one.name)) for one in fields(value)}
        return {key: inner for key, inner in found.items() if inner or key not in LATER}
    if isinstance(value, tuple | list):
        return [_wire(one) for one in value]
    return value


def _read(kind: type[T], raw: Any) -> T:
    """The reverse of ``_wire``; there are no maps with free keys in what is pinned."""
    return TypeAdapter(kind).validate_python(_snake(raw))


def _snake(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {re.sub(r"([A-Z])", r"_\1", key).lower(): _snake(value) for key, value in raw.items()}
    return [_snake(one) for one in raw] if isinstance(raw, list) else raw
