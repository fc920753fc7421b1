"""The artifact chain: asked for, waited for, held to the quality gate.

A step of the ModelDeployment's pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slipway.api import API_VERSION, reasons
from slipway.errors import InvalidSpecError
from slipway.manifests import artifacts, claims
from slipway.manifests.artifacts import ArtifactPlan
from slipway.manifests.companions import model_chain
from slipway.manifests.owner import Owner
from slipway.manifests.serving import PublishedArtifact
from slipway.observe.observed import Raw
from slipway.passes import attempt, companions, planning
from slipway.passes.artifact import is_ready
from slipway.passes.outcome import Draft
from slipway.passes.scene import Chosen, Scene
from slipway.plan import stages


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
    missing = [one for one in chain if one.name not in held]
    if missing and not _ask_for(scene, chain, missing, draft):
        return None
    waits = _first(chain, ready, held)
    if waits is not None:
        _waiting(waits, held.get(waits.name), stays, draft)
        return None
    found = _gate(scene, served[-1], held[served[-1].name], stays, draft)
    return found and replace(found, companions=companions.published(scene, pinned) or ())


def _first(chain: list[ArtifactPlan], ready: set[str], held: Mapping[str, Raw]) -> ArtifactPlan | None:
    """What is waited for: one that failed before all others, as what is made of it only waits."""
    missing = [one for one in chain if one.name not in ready]
    failed = [one for one in missing if ((held.get(one.name) or {}).get("status") or {}).get("failure")]
    return next(iter(failed or missing), None)


def _serving_revision(scene: Scene) -> str:
    marks = (scene.seen.workload or {}).get("metadata", {}).get("annotations", {})
    return str(marks.get("slipway.dev/revision", ""))


def _ask_for(scene: Scene, chain: list[ArtifactPlan], missing: list[ArtifactPlan], draft: Draft) -> bool:
    namespace = scene.owner.namespace
    wished = {one.name: artifacts.build_artifact(one, [scene.owner], namespace) for one in chain}
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
    draft.fields["progress"] = doing
    reason = ready["reason"] if ready else reasons.BUILDING
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
        if artifact is None or (artifact["spec"].get("store") or {}) == (wished or {}):
            continue
        owners = {ref["uid"] for ref in artifact["metadata"].get("ownerReferences", ())}
        if one.name not in ready and owners <= {scene.owner.uid}:
            draft.delete.append(artifact)
        else:
            stay.append(one.name)
    return f"; the store of ModelArtifact {', '.join(stay)} stays, delete it to move" if stay else ""


def _gate(
    scene: Scene, plan: ArtifactPlan, artifact: Raw, stays: str, draft: Draft
) -> PublishedArtifact | None:
    status = artifact["status"]
    loss = (status.get("quality") or {}).get("loss")
    draft.fields["qualityLoss"] = loss
    gate = scene.spec.optimize.max_quality_loss if scene.spec.optimize else None
    if gate and (text := _too_much(plan.level, loss, gate)):
        draft.fails(reasons.ARTIFACT_READY, reasons.QUALITY_BELOW_GATE, text)
        draft.progressing(state=False, reason=reasons.QUALITY_BELOW_GATE, message="waits for another spec")
        return None
    text = f"ModelArtifact {plan.name} is published and verified{stays}"
    draft.holds(reasons.ARTIFACT_READY, reasons.BUILT, text)
    return PublishedArtifact(plan.name, status["location"]["claim"], status["digest"], plan.level)


def _too_much(level: str, loss: str | None, gate: str) -> str:
    """Why the gate stays shut; empty when it opens. What nobody measured does not pass."""
    field = f"spec.optimize.maxQualityLoss ({gate})"
    if loss is None:
        return (
            f"no loss of {level} against f16 was measured, and {field} asks for one: drop maxQualityLoss, or "
            "choose a level that is quantised from f16"
        )
    if float(loss.rstrip("%")) > float(gate.rstrip("%")):
        return f"{level} loses {loss} in perplexity, more than {field} allows; choose a higher level"
    return ""
