"""Inspect, decide, pin: from a spec to the ControllerRevision with its plan.

A step of the ModelDeployment's pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from slipway.api import reasons
from slipway.engines import ENGINES, decide, image_of
from slipway.errors import InvalidSpecError, NothingFitsError
from slipway.manifests import revision
from slipway.manifests.chains import first_name
from slipway.manifests.companions import inquiries, model_chain, with_chains
from slipway.manifests.revision import SPEC_HASH_LABEL, Pinned
from slipway.observe.observed import ModelObserved, Raw
from slipway.passes import companions, inspection, tries
from slipway.passes.kept import read_revision
from slipway.passes.outcome import Draft
from slipway.passes.scene import Chosen, Scene
from slipway.plan import revision as history
from slipway.plan.companions import Companion
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts
from slipway.plan.model_config import facts_from_wire
from slipway.plan.summary import plan_status
from slipway.settings import Images

REPLAN: Final = "slipway.dev/replan"
"""Annotation of a user: any new value plans anew, with the nodes and default images of now."""
GROUPS_SECONDS: Final = 60.0
"""How often a model that nothing holds is looked at while no replica can take several nodes: the kind that
makes them may come, and says nothing of it."""


def asked(model: Raw) -> str:
    """A user's wish for another plan, empty when there is none."""
    return str(model["metadata"].get("annotations", {}).get(REPLAN, ""))[: inspection.MARK_LIMIT]


def pin(scene: Scene, draft: Draft) -> Chosen | None:
    """The revision of this spec; None while it is being inspected, or when nothing fits."""
    found = history.current(_history(scene.seen), scene.spec_hash, scene.asked)
    _drop_stale_inspections(scene, draft)
    if found is not None:
        return _pinned(scene, found.name, draft)
    facts = _known_facts(scene.seen.known, scene) if scene.seen.known is not None else None
    if facts is None:
        step = inspection.inspect(scene, _inquiry(scene), draft)
        facts = _inspected(step.result, draft) if step else None
    beside = companions.inspect(scene, _inquiry(scene), draft) if facts is not None else None
    if facts is not None and beside is not None:
        _decide(scene, *facts, beside, draft)
    return None


def _inquiry(scene: Scene) -> str:
    """Hash of what is inspected for: another wish resolves the branch anew, and reads what it now holds."""
    if not scene.asked:
        return scene.spec_hash
    both = f"{scene.spec_hash}|{scene.asked}"
    return hashlib.sha256(both.encode()).hexdigest()[: len(scene.spec_hash)]


def _history(seen: ModelObserved) -> list[history.Revision]:
    found = []
    for raw in seen.revisions:
        labels = raw["metadata"].get("labels", {})
        spec_hash = labels.get(SPEC_HASH_LABEL, "")
        answered = str((raw.get("data") or {}).get("asked", ""))
        number = int(raw.get("revision", 0))
        found.append(history.Revision(raw["metadata"]["name"], number, spec_hash, answered))
    return found


def drop_outdated(scene: Scene, chosen: Chosen, serving: str, draft: Draft) -> None:
    """Delete revisions beyond the kept ones."""
    names = history.outdated(_history(scene.seen), chosen.name, serving)
    draft.delete += [raw for raw in scene.seen.revisions if raw["metadata"]["name"] in names]


def _drop_stale_inspections(scene: Scene, draft: Draft) -> None:
    asked = {_inquiry(scene), *inquiries(scene.spec, _inquiry(scene))}
    for seen in scene.seen.jobs:
        labels = seen.job["metadata"].get("labels", {})
        stale = labels.get(SPEC_HASH_LABEL) not in asked
        if labels.get(tries.STAGE_LABEL) == "inspect" and stale:
            draft.delete.append(seen.job)


def _known_facts(raw: Raw, scene: Scene) -> tuple[str, ModelFacts] | None:
    """Commit and facts of a revision of the same source at the same commit: nothing is left to inspect."""
    try:
        pinned = read_revision(raw)
    except ValueError:
        return None
    return (pinned.commit, pinned.facts) if companions.tells_enough(scene.spec, pinned.facts) else None


def _inspected(result: Mapping[str, Any], draft: Draft) -> tuple[str, ModelFacts] | None:
    try:
        return str(result["commit"]), facts_from_wire(result["facts"])
    except (KeyError, ValueError) as error:
        text = f"the inspection's result is not understood ({error}): operator and runtime of one version?"
        draft.fails(reasons.SOURCE_RESOLVED, reasons.INTERNAL_ERROR, text)
        return None


def _decide(
    scene: Scene, commit: str, facts: ModelFacts, beside: tuple[Companion, ...], draft: Draft
) -> None:
    _resolved(scene.spec.model.source, commit, facts, draft)
    try:
        plan = decide(scene.spec, facts, [node.facts for node in scene.seen.nodes], scene.settings, beside)
    except NothingFitsError as error:
        draft.fails(reasons.PLANNED, error.reason, error.message)
        draft.progressing(state=False, reason=error.reason, message="waits for other nodes or another spec")
        if not scene.settings.several_nodes:
            draft.look_again(GROUPS_SECONDS)
        return
    except InvalidSpecError as error:
        draft.fails(reasons.PLANNED, error.reason, error.message)
        draft.progressing(state=False, reason=error.reason, message="waits for another spec")
        return
    beside = _named(scene, commit, plan, beside)
    whole = model_chain(scene.spec, commit, plan, beside)
    pinned = Pinned(
        spec_hash=scene.spec_hash,
        uri=scene.spec.model.source,
        commit=commit,
        facts=facts,
        plan=plan,
        images=_images(scene, plan),
        artifacts=tuple(one.name for one in whole),
        asked=scene.asked,
        engine=_engine_spec(scene, plan),
        companions=beside,
    )
    _ask_for_revision(scene, pinned, draft)
    draft.unknown(reasons.PLANNED, reasons.PLANNING, "the plan is being pinned")


def _images(scene: Scene, plan: Plan) -> Images:
    """The images of now, that of the engine by name: another default later changes nothing that runs.

    The user's own is part of the spec, and llama.cpp's on CPU has a field of its own.
    """
    images = scene.settings.images
    without = scene.spec.model_copy(update={"engine": None})
    chosen = image_of(scene.settings, without, plan)
    return replace(images, pinned="" if chosen == images.llamacpp else chosen)


def replan(scene: Scene, chosen: Chosen, draft: Draft) -> None:
    """Pin another plan if the nodes of now ask for one: for a model that no node takes any more.

    Commit and images stay, a person alone moves them. A wish counts as answered by this plan, too.
    """
    pinned, nodes = chosen.pinned, [node.facts for node in scene.seen.nodes]
    try:
        plan = decide(scene.spec, pinned.facts, nodes, scene.settings, pinned.companions)
    except InvalidSpecError:
        return  # nothing better: the pod's condition already says what is missing
    if plan.effect == pinned.plan.effect:
        return  # the same pods on the same nodes, for reasons that read otherwise
    beside = _named(scene, pinned.commit, plan, pinned.companions)
    chain = model_chain(scene.spec, pinned.commit, plan, beside)
    names = tuple(one.name for one in chain)
    answered = scene.asked or pinned.asked
    anew = replace(pinned, plan=plan, images=_kept(scene, pinned, plan), artifacts=names, asked=answered)
    _ask_for_revision(scene, replace(anew, companions=beside), draft)


def _named(scene: Scene, commit: str, plan: Plan, companions: tuple[Companion, ...]) -> tuple[Companion, ...]:
    return with_chains(scene.spec, companions, plan.form, first_name(scene.spec, commit, plan))


def _named_anew(scene: Scene, pinned: Pinned, draft: Draft) -> None:
    """Pin companions of a model that comes as GGUF by the names that they are built under.

    Revisions of before named them beside an artifact that such a model does not have.
    """
    if not pinned.plan.source_files or not pinned.companions:
        return
    named = _named(scene, pinned.commit, pinned.plan, pinned.companions)
    if named != pinned.companions:
        _ask_for_revision(scene, replace(pinned, companions=named), draft)


def _engine_spec(scene: Scene, plan: Plan) -> str:
    """The plan's ServingEngine as it is now: what somebody makes of it later changes nothing that runs."""
    return dict(scene.settings.serving_engines).get(plan.engine, "") if plan.engine not in ENGINES else ""


def _kept(scene: Scene, pinned: Pinned, plan: Plan) -> Images:
    """The pinned images; that of the engine anew when it is another engine, or on another accelerator."""
    old = pinned.plan
    vendors = [one.accelerator.vendor if one.accelerator else "" for one in (old, plan)]
    if old.engine == plan.engine and vendors[0] == vendors[1]:
        return pinned.images
    return replace(pinned.images, pinned=_images(scene, plan).pinned)


def _ask_for_revision(scene: Scene, pinned: Pinned, draft: Draft) -> None:
    number = history.next_number(_history(scene.seen))
    draft.create.append(revision.build_revision(scene.owner, number, pinned))


def _pinned(scene: Scene, name: str, draft: Draft) -> Chosen | None:
    raw = next(raw for raw in scene.seen.revisions if raw["metadata"]["name"] == name)
    try:
        pinned = read_revision(raw)
    except ValueError as error:
        draft.fails(reasons.PLANNED, reasons.INTERNAL_ERROR, str(error))
        return None
    draft.fields.pop("failure", None)
    draft.fields["revision"] = name
    _resolved(pinned.uri, pinned.commit, pinned.facts, draft)
    companions.report(pinned, draft)
    _named_anew(scene, pinned, draft)
    _planned(pinned.plan, draft)
    return Chosen(name, pinned)


def _resolved(uri: str, commit: str, facts: ModelFacts, draft: Draft) -> None:
    draft.fields["source"] = {
        "uri": uri,
        "commit": commit,
        "license": facts.license or None,
        "bytes": facts.download_bytes,
        "parameters": facts.parameters,
    }
    draft.holds(reasons.SOURCE_RESOLVED, reasons.RESOLVED, f"{uri} is pinned to {commit}")


def _planned(plan: Plan, draft: Draft) -> None:
    draft.fields["plan"] = plan_status(plan).model_dump(by_alias=True, exclude_none=True, mode="json")
    draft.holds(reasons.PLANNED, reasons.DECIDED, plan.reason)
