"""The pass over a ModelDeployment, readable as a table of contents; pure, called by ``reconcile``."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import orjson

from slipway.api import reasons
from slipway.errors import InvalidSpecError
from slipway.observe.observed import ModelObserved
from slipway.passes import building, planning, pools, proving, serving, upkeep
from slipway.passes.kept import read_spec, spec_hash, with_store
from slipway.passes.outcome import Draft, Outcome
from slipway.passes.scene import Scene
from slipway.settings import Settings
from slipway.status import Condition

TYPES: Final = reasons.CONDITION_TYPES


def decide(seen: ModelObserved, settings: Settings, now: datetime) -> Outcome:
    """What to write for one ModelDeployment: pin, build, serve, prove.

    Each step says in conditions how far it is.
    """
    pooled = bool(seen.model["spec"].get("pools"))
    draft = Draft(seen.model, now, reasons.POOL_CONDITION_TYPES if pooled else TYPES)
    settings = replace(settings, serving_engines=_serving_engines(seen), several_nodes=seen.groups)
    serving.report_replicas(seen, draft)
    if seen.model["spec"].get("suspend"):
        return _suspended(seen, draft)
    try:
        written = read_spec(seen.model, settings)
        spec = with_store(written, settings)
    except InvalidSpecError as error:
        return _refused(error, seen, settings, draft)
    scene = Scene(seen, spec, spec_hash(written, spec), settings, now, planning.asked(seen.model))
    if spec.pools:
        pools.share_out(scene, draft)
        return draft.outcome(reasons.SERVING, "the model answers as specified")
    chosen = planning.pin(scene, draft)
    served = building.build(scene, chosen, draft) if chosen else None
    if chosen and served:
        workload = serving.serve(scene, chosen, served, draft)
        pools.dissolve(scene, draft)
        proving.prove(scene, chosen, served, workload, draft)
    else:
        upkeep.keep_serving(scene, draft)
    return draft.outcome(reasons.SERVING, "the model answers as specified")


def _serving_engines(seen: ModelObserved) -> tuple[tuple[str, str], ...]:
    """The cluster's own engines as settings hold them; nothing is parsed that no model names."""
    return tuple(
        (str(raw["metadata"]["name"]), orjson.dumps(raw.get("spec"), option=orjson.OPT_SORT_KEYS).decode())
        for raw in seen.engines
    )


def _suspended(seen: ModelObserved, draft: Draft) -> Outcome:
    for one in draft.old_conditions:
        if one["type"] not in (reasons.PROGRESSING, reasons.READY):
            draft.put(Condition(one["type"], one["status"], one["reason"], one["message"]))
    serving.report_available(seen, draft)
    draft.apply += pools.suspended(seen)
    text = "spec.suspend is true: nothing is changed, what runs goes on"
    draft.progressing(state=False, reason=reasons.SUSPENDED, message=text)
    if not draft.old_conditions or draft.headline is not None:
        draft.headline = (reasons.SUSPENDED, text)
    return draft.outcome(reasons.SERVING, "the model answers; Slipway is suspended")


def _refused(error: InvalidSpecError, seen: ModelObserved, settings: Settings, draft: Draft) -> Outcome:
    draft.fails(reasons.SOURCE_RESOLVED, error.reason, error.message)
    draft.progressing(state=False, reason=error.reason, message="nothing is done until the spec is corrected")
    spec = upkeep.loose_spec(seen.model)
    if spec is None:
        serving.report_available(seen, draft)
    else:
        upkeep.keep_serving(Scene(seen, spec, "", settings, draft.now), draft)
    return draft.outcome(reasons.SERVING, "")
