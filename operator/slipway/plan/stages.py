"""What comes next in a stage's life: start, wait, retry, done or failed; pure, called by passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

import orjson

from slipway.api import reasons
from slipway.plan.failures import LIMITED_TRIES, Kind, Verdict, judge
from slipway.plan.symptoms import Symptoms
from slipway_runtime.contract import PROGRESS_PREFIX

BACKOFF_FIRST: Final = 5.0
BACKOFF_LIMIT: Final = 300.0
"""Seconds between tries: a hub that comes back is used within five minutes."""
LAG_SECONDS: Final = 10.0
"""Jobs and pods are watched apart: a Job that ended may be seen this much before the result of its pod."""
KEPT_FAILED: Final = 2
"""Failed Jobs of a stage that are kept for a person to read; older ones are deleted."""

DOING: Final[Mapping[str, str]] = {
    "inspect": "Inspecting",
    "recall": "Looking it up",
    "fetch": "Fetching",
    "merge": "Merging",
    "prune": "Pruning",
    "distill": "Distilling",
    "convert": "Converting",
    "imatrix": "Measuring importance",
    "quantize": "Quantizing",
    "evaluate": "Evaluating",
    "publish": "Publishing",
    "push": "Pushing",
    "benchmark": "Benchmarking",
}
"""Stage to what a person reads of it."""


class State(Enum):
    """State of one try."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Try:
    """One Job of a stage.

    Attributes:
        name: of the Job.
        attempt: number in its name, from 1, never reused while a Job of that number exists.
        count: how many tries there were under the same stamp, this one included.
        limited: how many of those before it failed in a way that is tried ``LIMITED_TRIES`` times.
        memory: how many times the computed memory limit it has.
        stamp: fingerprint of all that a person may change to make it work.
        template: hash of its pods' template; empty for a Job of before that was kept.
        ended: when it ended; None while it runs.
        alive: its pod runs now.
        ran: a container of it runs or ran: what it does is not thrown away.
        result: of a success.
        jitter: number in [0, 1), the same whenever this try is looked at.
    """

    name: str
    attempt: int
    count: int
    stamp: str
    state: State
    ended: datetime | None = None
    symptoms: Symptoms = field(default_factory=Symptoms)
    alive: bool = False
    ran: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    jitter: float = 0.0
    limited: int = 0
    memory: int = 1
    template: str = ""


class Do(Enum):
    """What to do with a stage."""

    START = "start"
    WAIT = "wait"
    DONE = "done"
    FAIL = "fail"


@dataclass(frozen=True)
class Step:
    """The next step of a stage.

    Attributes:
        attempt: number of the try to start, or of the one looked at.
        count: tries under this stamp, that one included.
        limited: as of ``Try``, for the try to start.
        memory: as of ``Try``, for the try to start.
        verdict: what is wrong, if something is: also while it waits for the next try.
        alive: a pod runs now, so that progress may change.
        after: earliest time of the next look, for a retry that waits.
        obsolete: names of Jobs that nobody needs any more.
    """

    do: Do
    attempt: int = 1
    count: int = 1
    verdict: Verdict | None = None
    alive: bool = False
    after: datetime | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    obsolete: tuple[str, ...] = ()
    limited: int = 0
    memory: int = 1


Template = Callable[[int], str]
"""Hash of the pods' template that a try would have now, by how many times the computed memory it gets."""


def _unknown(_: int) -> str:
    return ""


def next_step(tries: Iterable[Try], stamp: str, now: datetime, template: Template = _unknown) -> Step:
    """Decide on one stage.

    Args:
        tries: every Job of this stage that still exists.
        stamp: the current fingerprint; tries with another one no longer count, unless they succeeded or run.
        now: wall clock.
        template: what a Job would look like now.
    """
    ordered = sorted(tries, key=lambda one: one.attempt)
    if not ordered:
        return Step(Do.START)
    last = ordered[-1]
    obsolete = tuple(one.name for one in ordered[:-KEPT_FAILED])
    if last.state is State.SUCCEEDED and last.result:
        return Step(Do.DONE, last.attempt, last.count, result=last.result)
    if last.state is State.RUNNING:
        step = _while_it_runs(ordered, stamp, template)
        return replace(step, obsolete=(*obsolete, *step.obsolete))
    late = last.symptoms.gone and not last.symptoms.waited
    if late and last.ended and now < (seen := last.ended + timedelta(seconds=LAG_SECONDS)):
        return Step(Do.WAIT, last.attempt, last.count, after=seen)
    if last.stamp != stamp:
        return Step(Do.START, last.attempt + 1, 1, obsolete=obsolete)
    return _after_failure(last, now, obsolete)


def _while_it_runs(ordered: Sequence[Try], stamp: str, template: Template) -> Step:
    last = ordered[-1]
    trouble = judge(last.symptoms)
    if trouble is not None and _corrected(last, trouble, stamp, template):
        return _another(last, stamp, trouble)
    verdict = trouble or _trouble_before(ordered, stamp)
    return Step(Do.WAIT, last.attempt, last.count, verdict, alive=last.alive, progress=last.progress)


def _corrected(last: Try, trouble: Verdict, stamp: str, template: Template) -> bool:
    """Whether a Job whose pod waits would be another one by now: Jobs don't change, so it would wait on."""
    if trouble.kind is not Kind.WAITING or last.ran:
        return False
    wished = template(last.memory)
    return last.stamp != stamp or (bool(last.template and wished) and last.template != wished)


def _another(last: Try, stamp: str, verdict: Verdict) -> Step:
    """The try in place of one that never ran, which therefore does not count."""
    started = Step(Do.START, last.attempt + 1, verdict=verdict, obsolete=(last.name,))
    if last.stamp != stamp:
        return started
    return replace(started, count=last.count, limited=last.limited, memory=last.memory)


def _trouble_before(ordered: Sequence[Try], stamp: str) -> Verdict | None:
    # What was wrong stays said until the new try shows progress: else the condition flaps with every try.
    before = ordered[-2:-1]
    if not before or ordered[-1].progress or before[0].stamp != stamp or before[0].state is not State.FAILED:
        return None
    return judge(before[0].symptoms)


def _after_failure(last: Try, now: datetime, obsolete: tuple[str, ...]) -> Step:
    verdict = judge(last.symptoms) or Verdict(
        reasons.INTERNAL_ERROR, Kind.LIMITED, "the Job failed without a trace"
    )
    limited = last.limited + (verdict.kind is Kind.LIMITED)
    if verdict.kind is Kind.PERMANENT or limited >= LIMITED_TRIES:
        return Step(Do.FAIL, last.attempt, last.count, verdict, obsolete=obsolete)
    due = (last.ended or now) + timedelta(seconds=retry_delay(last.count, last.jitter))
    if now < due:
        return Step(Do.WAIT, last.attempt, last.count, verdict, after=due, obsolete=obsolete)
    more = 2 if verdict.reason == reasons.OUT_OF_MEMORY else 1  # the same again would end the same
    again = Step(Do.START, last.attempt + 1, last.count + 1, verdict, obsolete=obsolete)
    return replace(again, limited=limited, memory=last.memory * more)


def retry_delay(count: int, jitter: float) -> float:
    """Seconds to the next try after ``count`` failed ones.

    5 s doubled up to 5 min, cut by up to a quarter.
    """
    delay = min(BACKOFF_LIMIT, BACKOFF_FIRST * 2.0 ** min(count - 1, 16))
    return delay * (1 - jitter / 4)


def last_progress(tail: str) -> Mapping[str, Any]:
    """The newest progress line in the end of a log; empty when there is none, or only cut or foreign ones."""
    for line in reversed(tail.splitlines()):
        if line.startswith(PROGRESS_PREFIX):
            try:
                found = orjson.loads(line.removeprefix(PROGRESS_PREFIX))
            except orjson.JSONDecodeError:
                continue
            if isinstance(found, dict) and isinstance(found.get("percent"), int):
                return found
    return {}


def progress_text(stage: str, percent: int | None) -> str:
    """What a person reads: ``Quantizing 43%``."""
    doing = DOING.get(stage, stage.capitalize())
    return doing if percent is None else f"{doing} {percent}%"


def next_stage(stages: Sequence[str], completed: Iterable[str]) -> str | None:
    """First stage that is not completed; None when all are."""
    done = set(completed)
    return next((stage for stage in stages if stage not in done), None)
