"""Levels of ``spec.optimize.compare``: made and measured beside what is served, never served themselves.

A step of the ModelDeployment's pass, after ``building``; blocks nothing, and what fails here is only said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from slipway.api import API_VERSION, reasons
from slipway.errors import InvalidSpecError
from slipway.manifests import artifacts, chains, claims
from slipway.manifests.artifacts import ArtifactPlan
from slipway.manifests.companions import model_chain
from slipway.manifests.owner import Owner
from slipway.observe.observed import Raw
from slipway.passes.artifact import is_ready
from slipway.passes.outcome import Draft
from slipway.passes.scene import Chosen, Scene
from slipway.plan.memory import logits_bytes
from slipway.plan.pruning import pruned_facts
from slipway_runtime.contract import MATRIX
from slipway_runtime.methods import GGUF

MESSAGE_LIMIT: Final = 400
WAITS: Final = "waits until the model answers: nothing is to slow down what is served"


def report(scene: Scene, chosen: Chosen, draft: Draft) -> None:
    """Say in status how far each level is, and what it would cost; nothing without ``compare``."""
    levels = _levels(scene)
    why = _why_not(chosen) if levels else ""
    if why:
        rows = [{"level": level, "ready": False, "message": why} for level in levels]
    else:
        wanted = _wanted(scene, chosen)
        rows = [_row(scene, one, chosen) for one in wanted.values()]
    draft.fields["compare"] = rows or None


def build(scene: Scene, chosen: Chosen, draft: Draft, *, shut: bool) -> None:
    """Ask for what is missing, once the model answers, or waits behind a shut gate for another spec."""
    if not _levels(scene) or _why_not(chosen):
        return
    held = scene.seen.artifacts
    missing = {name: one for name, one in _whole(scene, chosen).items() if name not in held}
    if not missing:
        return
    if not (shut or draft.was(reasons.READY) or scene.spec.replicas == 0):
        _say(draft, missing, WAITS)
        return
    namespace = scene.owner.namespace
    for name, one in missing.items():
        logits = logits_bytes(chosen.pinned.facts)
        wished = artifacts.build_artifact(one, [scene.owner], namespace, logits)
        try:  # a claim that is too small is refused before a byte moves
            claims.build_claim(
                Owner(API_VERSION, "ModelArtifact", name, "", namespace), wished, scene.settings
            )
        except InvalidSpecError as error:
            _say(draft, {name: one}, error.message)
        else:
            draft.create.append(wished)


def _levels(scene: Scene) -> list[str]:
    return (scene.spec.optimize.compare if scene.spec.optimize else None) or []


def _why_not(chosen: Chosen) -> str:
    """Why no level can be made of what is served; empty when each can."""
    plan, facts = chosen.pinned.plan, chosen.pinned.facts
    if plan.form != GGUF:
        return (
            f"{plan.engine} serves {plan.level}, which is no level of llama.cpp: levels are compared where "
            "one of them is served (spec.optimize.method: gguf)"
        )
    if plan.source_files:
        return f"the model comes as GGUF, at {plan.level}: there is no f16 to make levels of"
    if facts.quantization:
        return f"the model comes quantised ({facts.quantization}): there is no f16 to make levels of"
    return ""


def _whole(scene: Scene, chosen: Chosen) -> dict[str, ArtifactPlan]:
    pinned = chosen.pinned
    return chains.compared_artifacts(scene.spec, pinned.commit, pinned.plan, pinned.facts, pinned.companions)


def _wanted(scene: Scene, chosen: Chosen) -> dict[str, ArtifactPlan]:
    """Those with a row of their own: the levels, and an f16 that only they need; no importance matrix."""
    served = model_chain(scene.spec, chosen.pinned.commit, chosen.pinned.plan, chosen.pinned.companions)
    shared = {one.name for one in served}
    return {
        name: one
        for name, one in _whole(scene, chosen).items()
        if one.level in _levels(scene) or (name not in shared and one.level != MATRIX)
    }


def _weights(scene: Scene, one: ArtifactPlan, chosen: Chosen) -> int:
    """Weights of what is compared: what pruning leaves is a bound, and so is half of f16's bytes."""
    left = pruned_facts(scene.spec, chosen.pinned.facts).parameters
    parent = scene.seen.artifacts.get(one.parent or "") or {}
    size = (parent.get("status") or {}).get("sizeBytes") if one.level not in artifacts.CONVERTED else None
    return min(left, size // 2) if size and left < chosen.pinned.facts.parameters else left


def _row(scene: Scene, one: ArtifactPlan, chosen: Chosen) -> dict[str, Any]:
    artifact: Raw | None = scene.seen.artifacts.get(one.name)
    status: Mapping[str, Any] = (artifact or {}).get("status") or {}
    quality = status.get("quality") or {}
    size = status.get("sizeBytes")
    weights = _weights(scene, one, chosen)
    return {
        "level": one.level,
        "artifact": one.name,
        "ready": is_ready(artifact),
        "sizeBytes": size,
        "bitsPerWeight": f"{8 * size / weights:.2f}" if size and weights else None,
        **{key: quality.get(key) for key in ("perplexity", "loss", "kld")},
        "message": _trouble(status),
    }


def _trouble(status: Mapping[str, Any]) -> str | None:
    """What keeps an artifact from being ready, when that is not just its Jobs at work."""
    if failure := status.get("failure"):
        return str(failure["message"])[:MESSAGE_LIMIT]
    ready = next((one for one in status.get("conditions") or () if one["type"] == reasons.READY), None)
    working = (reasons.BUILDING, reasons.WAITING_FOR_PARENT)
    if ready is None or ready["status"] == "True" or ready["reason"] in working:
        return None
    return str(ready["message"])[:MESSAGE_LIMIT]


def _say(draft: Draft, about: Mapping[str, ArtifactPlan], text: str) -> None:
    for row in draft.fields.get("compare") or ():
        if row.get("artifact") in about:
            row["message"] = text[:MESSAGE_LIMIT]
