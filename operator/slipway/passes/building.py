"""The artifact chain: asked for, waited for, held to the quality gate.

A step of the ModelDeployment's pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slipway.api import API_VERSION, reasons
from slipway.api.modeldeployment import REMOTE
from slipway.errors import InvalidSpecError
from slipway.manifests import artifacts, claims
from slipway.manifests.artifacts import ArtifactPlan
from slipway.manifests.companions import model_chain
from slipway.manifests.jobs import DATA, form_of
from slipway.manifests.owner import Owner
from slipway.manifests.places import place_of
from slipway.manifests.revision import Pinned
from slipway.manifests.serving import PublishedArtifact
from slipway.observe.observed import Raw
from slipway.passes import attempt, companions, comparing, planning, results
from slipway.passes.artifact import is_ready
from slipway.passes.outcome import Draft
from slipway.passes.scene import Chosen, Scene
from slipway.plan import merging, stages
from slipway.plan.decision import Plan
from slipway.plan.memory import logits_bytes
from slipway_runtime.methods import GGUF


def build(scene: Scene, chosen: Chosen, draft: Draft) -> PublishedArtifact | None:
    """What is to be served; None while it is being built, or when it may not be served."""
    pinned = chosen.pinned
    served = model_chain(scene.spec, pinned.commit, pinned.plan, pinned.companions)
    chain = companions.whole_chain(scene, pinned, served)
    held = scene.seen.artifacts
    draft.fields["artifacts"] = [
        {"name": one.name, "level": one.level, "ready": is_ready(held.get(one.name))} for one in chain
    ]
    ready = {name for name, raw in held.items() if is_ready(raw)}
    planning.drop_outdated(scene, chosen, _serving_revision(scene), draft)
    stays = _move(scene, chain, ready, draft)
    chain = _needed(served, pinned, chain, held)
    comparing.report(scene, chosen, draft)
    missing = [one for one in chain if one.name not in held]
    logits = dict.fromkeys((one.name for one in served), logits_bytes(chosen.pinned.facts))
    if missing and not _ask_for(scene, chain, missing, logits, draft):
        return None
    waits = _first(chain, ready, held)
    if waits is not None:
        _waiting(waits, held.get(waits.name), stays, draft)
        return None
    found = _gate(scene, chosen.pinned.plan, served, stays, draft)
    comparing.build(scene, chosen, draft, shut=found is None)
    beside = companions.published(scene, pinned)
    if found and beside is None:
        text = f"what is served beside the model is not there as {chosen.name} names it{stays}"
        draft.fails(reasons.ARTIFACT_READY, reasons.BUILDING, text)
    return replace(found, companions=beside) if found and beside is not None else None


def _first(chain: list[ArtifactPlan], ready: set[str], held: Mapping[str, Raw]) -> ArtifactPlan | None:
    """What is waited for: one that failed before all others, as what is made of it only waits."""
    missing = [one for one in chain if one.name not in ready]
    failed = [one for one in missing if ((held.get(one.name) or {}).get("status") or {}).get("failure")]
    return next(iter(failed or missing), None)


def _needed(
    served: list[ArtifactPlan], pinned: Pinned, chain: list[ArtifactPlan], held: Mapping[str, Raw]
) -> list[ArtifactPlan]:
    """What has to be there: of what a registry may have already, nothing before it was asked."""
    plans = {one.name: one for one in chain}
    mounted = (one.artifacts[-1] for one in merging.beside(pinned.companions) if one.artifacts)
    waiting, needed = [served[-1].name, *mounted], set[str]()
    while waiting:
        name = waiting.pop()
        if name in needed or name not in plans:
            continue
        needed.add(name)
        if _is_made(plans[name], held.get(name)):
            waiting += [one for one in (plans[name].parent, *plans[name].made.inputs.values()) if one]
    return [one for one in chain if one.name in needed]


def _is_made(plan: ArtifactPlan, artifact: Raw | None) -> bool:
    """Whether it is made here, so that it needs its parents: not what is looked up first, or was found."""
    if plan.store is None or plan.store.type not in REMOTE or not plan.pushed:
        return True
    looked_up = "recall" in (((artifact or {}).get("status") or {}).get("completed") or ())
    return looked_up and not is_ready(artifact)


def _serving_revision(scene: Scene) -> str:
    marks = (scene.seen.workload or {}).get("metadata", {}).get("annotations", {})
    return str(marks.get("slipway.dev/revision", ""))


def _ask_for(
    scene: Scene,
    chain: list[ArtifactPlan],
    missing: list[ArtifactPlan],
    logits: Mapping[str, int],
    draft: Draft,
) -> bool:
    namespace = scene.owner.namespace
    wished = {
        one.name: artifacts.build_artifact(one, [scene.owner], namespace, logits.get(one.name, 0))
        for one in chain
    }
    try:
        for one in chain:  # a claim that is too small is refused before a byte moves
            owner = Owner(API_VERSION, "ModelArtifact", one.name, "", namespace)
            claims.build_claim(owner, wished[one.name], scene.settings)
    except InvalidSpecError as error:
        draft.fails(reasons.ARTIFACT_READY, error.reason, error.message)
        draft.progressing(
            state=False, reason=error.reason, message="nothing is made until the spec is corrected"
        )
        return False
    draft.create += [wished[one.name] for one in missing]
    return True


def _waiting(plan: ArtifactPlan, artifact: Raw | None, stays: str, draft: Draft) -> None:
    if artifact in draft.delete:
        text = f"ModelArtifact {plan.name} is made anew in the store that the spec asks for"
        draft.fails(reasons.ARTIFACT_READY, reasons.BUILDING, text)
        return
    status: dict[str, Any] = (artifact or {}).get("status") or {}
    ready = next((one for one in status.get("conditions", ()) if one["type"] == reasons.READY), None)
    failure = status.get("failure")
    if failure is not None:
        draft.fails(reasons.ARTIFACT_READY, failure["reason"], failure["message"] + stays)
        draft.progressing(state=False, reason=failure["reason"], message=attempt.PERMANENT)
        return
    progress = status.get("progress") or {}
    stage = progress.get("stage") or status.get("stage")
    doing = stages.progress_text(stage, progress.get("percent")) if stage else "Preparing"
    reason = ready["reason"] if ready else reasons.BUILDING
    draft.fields["progress"] = reasons.QUEUED if reason == reasons.QUEUED else doing
    trouble = reason not in (reasons.BUILDING, reasons.WAITING_FOR_PARENT)
    text = ready["message"] if ready and trouble else f"ModelArtifact {plan.name} is being built"
    draft.fails(reasons.ARTIFACT_READY, reason, text + stays)


def _move(scene: Scene, chain: list[ArtifactPlan], ready: set[str], draft: Draft) -> str:
    """Make anew what is not ready, only ours, and not in the store that the spec asks for.

    Returns:
        What is to be said of artifacts that stay where they are; empty when all are where they should be.
    """
    stay = []
    for one in chain:
        artifact = scene.seen.artifacts.get(one.name)
        wished = artifacts.build_artifact(one, [scene.owner], scene.owner.namespace)["spec"].get("store")
        if artifact is None or _same_store(artifact["spec"].get("store"), wished, one.name in ready):
            continue
        owners = {ref["uid"] for ref in artifact["metadata"].get("ownerReferences", ())}
        if one.name not in ready and owners <= {scene.owner.uid}:
            draft.delete.append(artifact)
        else:
            stay.append(one.name)
    return f"; the store of ModelArtifact {', '.join(stay)} stays, delete it to move" if stay else ""


def _same_store(held: Raw | None, wished: Raw | None, ready: bool) -> bool:
    """Whether an artifact is where it should be; of a ready one pods take the Secret that the spec names."""
    left_out = {"secretRef"} if ready else set[str]()
    held, wished = ({k: v for k, v in (one or {}).items() if k not in left_out} for one in (held, wished))
    return held == wished


def _gate(
    scene: Scene, decided: Plan, served: list[ArtifactPlan], stays: str, draft: Draft
) -> PublishedArtifact | None:
    plan, status = served[-1], scene.seen.artifacts[served[-1].name]["status"]
    loss, unknown = _whole_loss(scene, served)
    unknown = unknown or _never_measured(decided)
    draft.fields["qualityLoss"] = loss
    gate = scene.spec.optimize.max_quality_loss if scene.spec.optimize else None
    if gate and plan.made.method == "source" and plan.made.level and loss is None:
        draft.fails(reasons.ARTIFACT_READY, reasons.QUALITY_UNKNOWN, _came_so(plan, gate))
        draft.progressing(state=False, reason=reasons.QUALITY_UNKNOWN, message="waits for another spec")
        return None
    if gate and (text := _too_much(plan, loss, gate, unknown)):
        reason = reasons.QUALITY_BELOW_GATE if loss else reasons.QUALITY_UNKNOWN
        draft.fails(reasons.ARTIFACT_READY, reason, text)
        draft.progressing(state=False, reason=reason, message="waits for another spec")
        return None
    text = f"ModelArtifact {plan.name} is published and verified{stays}"
    warning = f"; how much it lost is not known: {unknown}" if unknown else ""
    reason = reasons.QUALITY_UNKNOWN if unknown else reasons.BUILT
    draft.holds(reasons.ARTIFACT_READY, reason, text + warning)
    place = place_of(scene.seen.artifacts[plan.name], scene.spec.store)
    return PublishedArtifact(plan.name, place, status["digest"], plan.level)


def _came_so(plan: ArtifactPlan, gate: str) -> str:
    """Why nobody can say what weights lose that came quantised: what they were made from isn't here."""
    return (
        f"{plan.uri} comes as GGUF, at {plan.level}: what that loses against the original weights is "
        f"unknown, and spec.optimize.maxQualityLoss ({gate}) asks for a measured loss. Drop it to "
        "serve the model as it is, or name the repository with the original weights in spec.model.source"
    )


def _never_measured(plan: Plan) -> str:
    """Why no Job measures what this plan serves; empty when one does, or nothing is made smaller."""
    if plan.source_files and plan.level not in artifacts.CONVERTED:
        return f"the model comes as GGUF, at {plan.level}"
    if plan.method == "none" or plan.form == "gguf" or plan.level in artifacts.CONVERTED:
        return ""
    if plan.at_load:
        return f"the engine makes {plan.level} while it loads"
    return "" if plan.made else f"the model comes as {plan.level}"


def _whole_loss(scene: Scene, served: list[ArtifactPlan]) -> tuple[str | None, str]:
    """The loss of all steps of the chain together, or None and why one of them is not known.

    Each is measured against what it was made from. What was found in a registry has parents that were never
    made here, or are now, to compare levels: it says itself what its whole chain lost.
    """
    whole, losses, missing = None, list[str](), ""
    for one in served:
        artifact = scene.seen.artifacts.get(one.name)
        status: dict[str, Any] = (artifact or {}).get("status") or {}
        if not is_ready(artifact):
            missing = missing or (one.level if _may_lose(one) else "")
            continue
        if why := status.get("qualityUnknown"):
            return None, f"{one.level}: {why}"
        whole = status.get("chainLoss")
        losses += [loss] if (loss := (status.get("quality") or {}).get("loss")) else []
    if missing:
        return whole, "" if whole else f"{missing}: what it lost was measured where it was made"
    return (results.together(losses) if losses else None), ""


def _may_lose(plan: ArtifactPlan) -> bool:
    """Whether a step on the way to what is served may cost quality: not another form, model or data."""
    method = plan.made.method
    return method not in ("source", GGUF, *results.LOSSLESS) and form_of(method) != DATA


def _too_much(plan: ArtifactPlan, loss: str | None, gate: str, unknown: str) -> str:
    """Why the gate stays shut; empty when it opens. What nobody measured does not pass."""
    field, what = f"spec.optimize.maxQualityLoss ({gate})", f"{plan.made.method} {plan.level}"
    if plan.made.method == "source":
        what = "what is served"
    if loss is None:
        why = f" ({unknown})" if unknown else ""
        return (
            f"no loss of {what} against the unquantised model was measured{why}, and {field} asks for one: "
            "drop maxQualityLoss, or choose a method or level whose unquantised model can be read"
        )
    if float(loss.rstrip("%")) > float(gate.rstrip("%")):
        return f"{what} loses {loss} in perplexity, more than {field} allows; choose a higher level"
    return ""
