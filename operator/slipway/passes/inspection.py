"""The inspection of one source, of the model or of a companion, by a Job; for planning and companions."""

from __future__ import annotations

from typing import Final

from slipway.api import reasons
from slipway.manifests import jobs, kueue, network
from slipway.manifests.revision import SPEC_HASH_LABEL
from slipway.observe.observed import Raw
from slipway.passes import attempt, tries
from slipway.passes.attempt import Circumstances
from slipway.passes.outcome import Draft
from slipway.passes.scene import Scene
from slipway.plan import stages
from slipway.plan.companions import Wanted
from slipway.plan.stages import Do, Step

MARK_LIMIT: Final = 256
"""Characters of an annotation's value that count."""


def inspect(scene: Scene, inquiry: str, draft: Draft, companion: Wanted | None = None) -> Step | None:
    """The finished inspection, or None while it is under way.

    Args:
        scene: the pass.
        inquiry: hash of what is inspected, and what for; the Job's label.
        draft: what is to be written; says in SourceResolved how far it is.
        companion: whose source it is; None for the model's own.
    """
    marks = scene.seen.model["metadata"].get("annotations", {})
    where = Circumstances(inquiry, scene.seen.credential, str(marks.get(tries.RETRY, ""))[:MARK_LIMIT])
    mine = tuple(
        one
        for one in scene.seen.jobs
        if one.job["metadata"].get("labels", {}).get(SPEC_HASH_LABEL) == inquiry
    )
    step = attempt.advance(mine, "inspect", where, _job(scene, inquiry, companion, 1), draft)
    if step.do is Do.DONE:
        return step
    if scene.settings.network_policy and companion is None:
        draft.apply.append(network.build_model_job_policy(scene.owner, scene.spec, scene.settings))
    if step.do is Do.START:
        job = _job(scene, inquiry, companion, step.attempt)
        draft.create.append(tries.stamped_job(job, step, where.stamp))
    doing = stages.progress_text("inspect", None)
    draft.fields["progress"] = doing if step.do is not Do.FAIL else None
    source = (companion or scene.spec.model).source
    if step.verdict is None:
        draft.unknown(reasons.SOURCE_RESOLVED, reasons.INSPECTING, f"{source} is being inspected")
        return None
    named = f"{companion.field}: " if companion else ""
    draft.fails(reasons.SOURCE_RESOLVED, step.verdict.reason, named + attempt.said(step, step.verdict))
    if step.do is Do.FAIL:
        draft.progressing(state=False, reason=step.verdict.reason, message=attempt.PERMANENT)
    return None


def _job(scene: Scene, inquiry: str, companion: Wanted | None, number: int) -> Raw:
    job = jobs.build_inspect_job(scene.owner, scene.spec, scene.settings, number, inquiry, companion)
    return kueue.queued(job, kueue.labels_of(scene.seen.model))
