"""The pass over a ModelArtifact: owners, claim, one stage Job after the other, results.

Pure, called by ``reconcile``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from slipway.api import API_VERSION, reasons
from slipway.errors import InvalidSpecError
from slipway.manifests import jobs, kueue, network
from slipway.manifests.job_pod import REMOTE_STAGES
from slipway.manifests.owner import Owner, owner_reference
from slipway.manifests.placement import job_placement
from slipway.observe.job_states import counts
from slipway.observe.observed import ArtifactObserved, Raw, User
from slipway.passes import attempt, results, store, tries
from slipway.passes.attempt import Circumstances
from slipway.passes.kept import read_revision, read_spec
from slipway.passes.outcome import Draft, Outcome
from slipway.plan import stages
from slipway.plan.job_queue import Turn
from slipway.plan.stages import Do, Step
from slipway.settings import Settings
from slipway.status import Note, parse_time

TYPES: Final = (reasons.PROGRESSING, reasons.READY)
Ask = Callable[[], Turn]
QUEUED_SECONDS: Final = 15.0
"""How often one of the first in the queue looks at it, without being woken."""
VERIFIED: Final = "the artifact is whole and verified"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "slipway"
YOUNG_SECONDS: Final = 15.0
"""An artifact younger than this is not taken from an owner.

After a change of leader, the revision that lists it may come to this cache a moment later.
"""


def decide(seen: ArtifactObserved, settings: Settings, now: datetime, ask: Ask = Turn) -> Outcome:
    """What to write for one ModelArtifact.

    Args:
        seen: the artifact and what belongs to it.
        settings: the installation's.
        now: wall clock.
        ask: its turn among those that want to start a Job; asked only when it does.
    """
    draft = Draft(seen.artifact, now, TYPES)
    users = _users(seen.users, draft)
    if not users:
        return _unused(seen, draft)
    _share(seen.artifact, users, draft)
    if all(user.model["spec"].get("suspend") for user in users):
        draft.progressing(state=False, reason=reasons.SUSPENDED, message="every user of it is suspended")
        draft.headline = _headline_kept(draft)
        return draft.outcome(reasons.BUILT, VERIFIED)
    if not store.forgotten(seen, draft):
        _build(seen, users, settings, draft, ask)
    return draft.outcome(reasons.BUILT, VERIFIED)


def _headline_kept(draft: Draft) -> tuple[str, str] | None:
    ready = draft.was(reasons.READY)
    return None if ready else (reasons.SUSPENDED, "every user of it is suspended")


def _users(users: tuple[User, ...], draft: Draft) -> tuple[User, ...]:
    created = parse_time(draft.raw["metadata"]["creationTimestamp"])
    young = (draft.now - created).total_seconds() < YOUNG_SECONDS
    if young and not all(user.revision for user in users):
        draft.look_again(YOUNG_SECONDS)
    if not all(user.lasting for user in users):
        draft.look_again(YOUNG_SECONDS)  # no event of its own tells that a revision is superseded
    return tuple(user for user in users if user.revision or not user.planned or young)


def _unused(seen: ArtifactObserved, draft: Draft) -> Outcome:
    """Nobody lists it any more: delete it.

    Without a living owner at all, the garbage collector's turn comes first.
    """
    meta = seen.artifact["metadata"]
    if meta.get("labels", {}).get(MANAGED_BY) != MANAGER:
        return Outcome(status=None)  # a person made it: not ours to delete
    wait = YOUNG_SECONDS - (draft.now - parse_time(meta["creationTimestamp"])).total_seconds()
    if wait > 0:
        return Outcome(status=None, requeue_after=wait + 1)
    text = f"no current revision of a ModelDeployment lists {meta['name']}: it is deleted with its claim"
    note = Note("Normal", reasons.UNUSED, text)
    return Outcome(status=None, delete=(seen.artifact,), notes=(note,))


def _share(artifact: Raw, users: tuple[User, ...], draft: Draft) -> None:
    held = {ref["uid"] for ref in artifact["metadata"].get("ownerReferences", ())}
    wished = [owner_reference(_owner(user.model), controller=False) for user in users]
    if {ref["uid"] for ref in wished} != held:
        draft.owners = tuple(wished)


def _owner(raw: Raw) -> Owner:
    meta = raw["metadata"]
    return Owner(API_VERSION, raw["kind"], meta["name"], meta["uid"], meta["namespace"])


def _build(
    seen: ArtifactObserved, users: tuple[User, ...], settings: Settings, draft: Draft, ask: Ask
) -> None:
    order = jobs.stages(seen.artifact)
    done = list(draft.fields.get("completed") or ())
    stage = stages.next_stage(order, done)
    if stage not in (None, "recall") and not _prepared(seen, settings, draft):
        draft.fields["stage"] = stage
        return
    if stage is not None and settings.network_policy:
        draft.apply += network.build_artifact_job_policies(_owner(seen.artifact), seen.artifact, settings)
    while stage is not None:
        where = _circumstances(seen, users, stage)
        wished = _job(seen, users, settings, stage=stage, number=1)
        step = attempt.advance(seen.jobs, stage, where, wished, draft)
        if stage == "evaluate" and _given_up(step, draft):
            done.append(stage)
            stage = stages.next_stage(order, done)
            continue
        if step.do is not Do.DONE:
            if step.do is Do.START and counts(wished) and (turn := ask()).place:
                _queued(turn, draft)
                break
            _under_way(seen, users, settings, draft, stage=stage, step=step, stamp=where.stamp)
            break
        draft.fields |= results.record(seen.artifact, seen.parent, stage, step.result)
        done = list(order) if results.found_there(stage, step.result) else [*done, stage]
        stage = stages.next_stage(order, done)
        if stage is not None and "recall" in done[-1:] and not _prepared(seen, settings, draft):
            break
    draft.fields["completed"] = done or None
    draft.fields["stage"] = stage


def _given_up(step: Step, draft: Draft) -> bool:
    """Whether measuring failed for want of memory alone: the artifact is whole, its loss stays unknown."""
    verdict = step.verdict
    if step.do is not Do.FAIL or verdict is None or verdict.reason != reasons.OUT_OF_MEMORY:
        return False
    draft.fields.pop("failure", None)
    draft.fields |= results.unmeasured(verdict.message)
    return True


def _queued(turn: Turn, draft: Draft) -> None:
    """Say that as many Jobs run as may. What leaves the queue wakes the others; a look is for what fails."""
    draft.fails(reasons.READY, reasons.QUEUED, turn.text)
    if turn.shown:
        draft.look_again(QUEUED_SECONDS)


def _prepared(seen: ArtifactObserved, settings: Settings, draft: Draft) -> bool:
    """Whether the parent, what is read beside it, and the claim are ready."""
    name = seen.artifact["spec"].get("parent")
    if name and not is_ready(seen.parent):
        draft.fails(reasons.READY, reasons.WAITING_FOR_PARENT, f"waits for ModelArtifact {name}")
        return False
    for one in seen.artifact["spec"].get("inputs") or ():
        if not is_ready(seen.inputs.get(one["name"])):
            text = f"waits for ModelArtifact {one['artifact']}"
            draft.fails(reasons.READY, reasons.WAITING_FOR_PARENT, text)
            return False
    return store.prepared(seen, settings, draft)


def is_ready(artifact: Raw | None) -> bool:
    """Whether an artifact is whole and verified."""
    conditions = ((artifact or {}).get("status") or {}).get("conditions") or ()
    return any(one["type"] == reasons.READY and one["status"] == "True" for one in conditions)


def _circumstances(seen: ArtifactObserved, users: tuple[User, ...], stage: str) -> Circumstances:
    marks = [user.model["metadata"].get("annotations", {}).get(tries.RETRY, "") for user in users]
    own = seen.artifact["metadata"].get("annotations", {}).get(tries.RETRY, "")
    retry = ",".join(mark for mark in (own, *marks) if mark)
    secret = seen.store_credential if stage in REMOTE_STAGES else seen.credential
    return Circumstances(seen.artifact["metadata"]["name"], secret, retry[:256])


def _under_way(
    seen: ArtifactObserved,
    users: tuple[User, ...],
    settings: Settings,
    draft: Draft,
    *,
    stage: str,
    step: Step,
    stamp: str,
) -> None:
    if step.do is Do.START:
        job = _job(seen, users, settings, stage=stage, number=step.attempt)
        claim = str(seen.claim["metadata"]["uid"]) if seen.claim else ""
        draft.create.append(tries.stamped_job(job, step, stamp, claim))
    said = _said(stage, step, (seen.artifact.get("status") or {}).get("progress") or {})
    doing = stages.progress_text(stage, said.get("percent"))
    verdict = step.verdict
    idle = step.do is Do.FAIL or (verdict is not None and verdict.reason == reasons.QUEUED)
    draft.fields["progress"] = None if idle else _progress(stage, step, said)
    if verdict is None:
        draft.fails(reasons.READY, reasons.BUILDING, doing)
        return
    draft.fails(reasons.READY, verdict.reason, attempt.said(step, verdict))
    if step.do is Do.FAIL:
        draft.progressing(state=False, reason=verdict.reason, message=attempt.PERMANENT)


def _said(stage: str, step: Step, held: Mapping[str, Any]) -> Mapping[str, Any]:
    """How far this try said it was: a pod that just ended has no log to read, and progress never falls."""
    if step.progress.get("stage") == stage:
        return step.progress
    same = held.get("stage") == stage and held.get("attempt") == step.attempt
    return held if same and step.do is not Do.START else {}


def _progress(stage: str, step: Step, said: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stage": stage,
        "percent": int(said.get("percent", 0)),
        "bytesDone": said.get("bytesDone"),
        "bytesTotal": said.get("bytesTotal"),
        "attempt": step.attempt,
    }


def _job(
    seen: ArtifactObserved, users: tuple[User, ...], settings: Settings, *, stage: str, number: int
) -> Raw:
    inputs = _of_first(users, seen.artifact)
    if stage == "fetch" and seen.credential:
        inputs = replace(inputs, secret=seen.credential.name)
    if stage in REMOTE_STAGES:
        inputs = replace(inputs, secret=(seen.artifact["spec"]["store"].get("secretRef") or {}).get("name"))
    elif seen.parent is not None:
        inputs = replace(inputs, parent_claim=_claim_of(seen.parent))
    read = {name: claim for name, raw in seen.inputs.items() if (claim := _claim_of(raw))}
    inputs = replace(inputs, inputs=read)
    job = jobs.build_stage_job(_owner(seen.artifact), seen.artifact, stage, number, inputs, settings)
    return kueue.queued(job, dict(inputs.kueue))


def _claim_of(artifact: Raw) -> str | None:
    """Claim of a ready artifact; what is looked up first may have a parent that is only being made."""
    return (artifact["status"].get("location") or {}).get("claim") if is_ready(artifact) else None


def _of_first(users: tuple[User, ...], artifact: Raw) -> jobs.StageInputs:
    """Where Jobs of the first user run, and facts of what is made."""
    for user in users:
        try:
            spec = read_spec(user.model, None)
            pinned = read_revision(user.revision) if user.revision else None
        except (InvalidSpecError, ValueError):
            continue
        where = job_placement(spec, pinned.plan if pinned else None)
        found = jobs.StageInputs(placement=where, kueue=tuple(kueue.labels_of(user.model).items()))
        if pinned is None:
            return found
        facts = pinned.facts_of(artifact["metadata"]["name"])
        return replace(found, facts=facts, parent_claim=pinned.anchor(artifact))
    return jobs.StageInputs()
