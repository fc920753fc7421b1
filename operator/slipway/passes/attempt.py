"""One stage of any owner: standing failure, missing Secret, next try.

Shared by inspect, artifact stages and benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from slipway.api import reasons
from slipway.observe.observed import Credential, JobObserved, Raw
from slipway.passes import tries
from slipway.passes.outcome import Draft
from slipway.plan import stages
from slipway.plan.failures import UNSCHEDULABLE_SECONDS, Kind, Verdict
from slipway.plan.stages import Do, Step
from slipway.status import timestamp

SECRET_POLL_SECONDS = 15.0
"""How often a Secret is looked at while something waits for it to change."""
PERMANENT = "nothing is tried until the spec, the Secret or the annotation slipway.dev/retry changes"
"""What Progressing says of a permanent failure."""
_REFUSED = frozenset({reasons.GATED_REPOSITORY, reasons.REPOSITORY_NOT_FOUND, reasons.TOKEN_REJECTED})
"""What the hub answers to a wrong token, or to none: a Secret without the key mounts nothing."""
PROGRESS_SECONDS = 5.0
"""How often a running Job's progress is read."""


@dataclass(frozen=True)
class Circumstances:
    """All that a person may change to make a failed stage work.

    Attributes:
        subject: hash of the spec's planning part, or of the artifact.
        retry: value of the retry annotation, empty when absent.
    """

    subject: str
    credential: Credential | None
    retry: str

    @property
    def stamp(self) -> str:
        """The fingerprint that Jobs carry."""
        return f"{self.subject}|{self.credential.stamp if self.credential else ''}|{self.retry}"


def advance(
    jobs: tuple[JobObserved, ...], stage: str, where: Circumstances, wished: Raw, draft: Draft
) -> Step:
    """The stage's next step; keeps ``status.failure`` true and deletes Jobs that nobody needs.

    The caller starts the Job when the step says START, and says in conditions what the verdict is.

    Args:
        jobs: of the owner, of any stage.
        stage: the one asked for.
        where: what a failure stands for.
        wished: the stage's Job as built now, of any attempt: one that waits is replaced when it differs.
        draft: what is to be written.
    """
    if (standing := _standing(draft.fields.get("failure"), where)) is not None:
        if where.credential is not None:
            draft.look_again(SECRET_POLL_SECONDS)
        return Step(Do.FAIL, verdict=standing)
    found = tries.tries(jobs, stage, draft.now, draft.old_conditions)
    step = _naming_secret(stages.next_step(found, where.stamp, draft.now, tries.template_of(wished)), where)
    draft.delete += [seen.job for seen in jobs if seen.job["metadata"]["name"] in step.obsolete]
    if step.do is Do.FAIL and step.verdict:
        draft.fields["failure"] = _failure(step.verdict, where, draft.now)
    else:
        draft.fields.pop("failure", None)
    if step.do is Do.START and where.credential is not None and not where.credential.version:
        draft.look_again(SECRET_POLL_SECONDS)
        return Step(Do.WAIT, step.attempt, step.count, _no_secret(where.credential))
    _next_look(step, draft)
    return step


def said(step: Step, verdict: Verdict) -> str:
    """The verdict for a person, with the time of the next try."""
    if step.after is None or verdict.kind is Kind.WAITING:
        return verdict.message
    return f"{verdict.message}; try {step.count + 1} starts at {step.after:%H:%M:%S}Z"


def _next_look(step: Step, draft: Draft) -> None:
    if step.do is Do.WAIT:
        if step.after is not None:
            draft.look_again(max(0.1, (step.after - draft.now).total_seconds()))
        elif step.alive:
            draft.look_again(PROGRESS_SECONDS)
        else:
            draft.look_again(UNSCHEDULABLE_SECONDS / 4)


def _naming_secret(step: Step, where: Circumstances) -> Step:
    """The step with a refusal that says with whose Secret it was asked: an artifact may have many users."""
    verdict, credential = step.verdict, where.credential
    if verdict is None or credential is None or verdict.reason not in _REFUSED:
        return step
    text = f"{verdict.message} (asked with {_whose(credential)}; its key must be called {credential.keys})"
    return replace(step, verdict=replace(verdict, message=text))


def _whose(credential: Credential) -> str:
    user = f" of ModelDeployment {credential.user}" if credential.user else ""
    return f"Secret {credential.name}{user}"


def _no_secret(credential: Credential) -> Verdict:
    text = f"{_whose(credential)} does not exist in this namespace; create it with the key {credential.keys}"
    return Verdict(reasons.SECRET_NOT_FOUND, Kind.WAITING, text)


def _standing(failure: Mapping[str, Any] | None, where: Circumstances) -> Verdict | None:
    if not failure:
        return None
    then = (failure["specHash"], failure.get("credentialVersion", ""), failure.get("retry", ""))
    now = (where.subject, where.credential.stamp if where.credential else "", where.retry)
    return Verdict(failure["reason"], Kind.PERMANENT, failure["message"]) if then == now else None


def _failure(verdict: Verdict, where: Circumstances, now: datetime) -> dict[str, Any]:
    return {
        "reason": verdict.reason,
        "message": verdict.message,
        "at": timestamp(now),
        "specHash": where.subject,
        "credentialVersion": where.credential.stamp if where.credential else None,
        "retry": where.retry or None,
    }
