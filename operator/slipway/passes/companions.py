"""What is served beside the model: inspected, pinned, built. For planning, building and upkeep.

Each companion has an inspection and a chain of artifacts of its own; with none, nothing here does anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.sources import is_commit
from slipway.manifests import companions as manifests
from slipway.manifests import network
from slipway.manifests.artifacts import ArtifactPlan
from slipway.manifests.owner import PublishedCompanion
from slipway.manifests.places import place_of
from slipway.manifests.revision import Pinned
from slipway.observe.observed import Raw
from slipway.passes import inspection
from slipway.passes.artifact import is_ready
from slipway.passes.kept import read_revision
from slipway.passes.outcome import Draft
from slipway.passes.scene import Scene
from slipway.plan import merging
from slipway.plan.companions import Companion, Wanted, companion_from_wire, role
from slipway.plan.facts import ModelFacts


def tells_enough(spec: ModelDeploymentSpec, facts: ModelFacts) -> bool:
    """Whether facts of another inspection are enough: a draft asks for the vocabulary, code for trust."""
    return (bool(facts.vocabulary) or not role(spec)) and trusted(spec, facts)


def trusted(spec: ModelDeploymentSpec, facts: ModelFacts | None) -> bool:
    """Whether what a model brings of its own code may run; an inspection refuses it with its own words."""
    return facts is None or not facts.remote_code or spec.model.trust_remote_code is True


def inspect(scene: Scene, inquiry: str, draft: Draft) -> tuple[Companion, ...] | None:
    """Every companion at its commit; None while one of them is being inspected, or can't be.

    All are inspected at once. Of failures the first is said alone: ``status`` has room for one.
    """
    found: list[Companion] = []
    held: dict[str, Any] = (draft.raw.get("status") or {}).get("failure") or {}
    asked = manifests.inquiries(scene.spec, inquiry)
    known = _known(scene)
    draft.fields.pop("failure", None)
    for hashed, one in asked.items():
        if (companion := known.get((one.source, one.revision or "", one.kind))) is not None:
            found.append(replace(companion, name=one.name, weight=one.weight))
            continue
        if held.get("specHash") == hashed:
            draft.fields["failure"] = held
        step = inspection.inspect(scene, hashed, draft, one)
        if "failure" in draft.fields:
            break
        if step is not None and (companion := _read(one, step.result, draft)) is not None:
            found.append(companion)
    if len(found) == len(asked):
        return tuple(found)
    if scene.settings.network_policy:
        draft.apply.append(network.build_model_job_policy(scene.owner, scene.spec, scene.settings))
    return None


def _known(scene: Scene) -> dict[tuple[str, str, str], Companion]:
    """What revisions of this model pin, by source and commit: where the spec names one, nothing is asked."""
    found: dict[tuple[str, str, str], Companion] = {}
    for raw in scene.seen.revisions:
        try:
            pinned = read_revision(raw).companions
        except ValueError:
            continue
        fixed = [one for one in pinned if is_commit(one.commit) and trusted(scene.spec, one.facts)]
        found |= {(one.uri, one.commit, one.kind): one for one in fixed}
    return found


def _read(one: Wanted, result: Any, draft: Draft) -> Companion | None:
    try:
        return companion_from_wire(one, str(result["commit"]), result["facts"])
    except (KeyError, ValueError) as error:
        text = f"the inspection of {one.source} is not understood ({error}): one version of all images?"
        draft.fails(reasons.SOURCE_RESOLVED, reasons.INTERNAL_ERROR, text)
        return None


def report(pinned: Pinned, draft: Draft) -> None:
    """Say in status what is pinned beside the model."""
    draft.fields["companions"] = [
        {
            "name": one.name,
            "kind": one.kind,
            "uri": one.uri,
            "commit": one.commit,
            "bytes": one.download_bytes,
        }
        for one in pinned.companions
    ] or None


def whole_chain(scene: Scene, pinned: Pinned, chain: list[ArtifactPlan]) -> list[ArtifactPlan]:
    """The model's chain, then those of its companions."""
    return manifests.with_companions(chain, scene.spec, pinned.companions, pinned.plan)


def published(scene: Scene, pinned: Pinned) -> tuple[PublishedCompanion, ...] | None:
    """The companions as they are mounted, none that is merged; None while one of them is not ready."""
    found = []
    for one in merging.beside(pinned.companions):
        artifact: Raw | None = scene.seen.artifacts.get(one.artifacts[-1])
        if artifact is None or not is_ready(artifact):
            return None
        digest = artifact["status"]["digest"]
        found.append(manifests.published_companion(one, place_of(artifact, scene.spec.store), digest))
    return tuple(found)
