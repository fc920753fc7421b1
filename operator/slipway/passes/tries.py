"""Observed Jobs and pods to tries and symptoms: the one place that reads their status; for both passes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson

from slipway.api import reasons
from slipway.manifests import kueue
from slipway.manifests.jobs import with_memory
from slipway.observe.container_states import telling, terminated
from slipway.observe.job_states import ended as job_ended
from slipway.observe.kinds import COMPONENT_LABEL, ENGINE
from slipway.observe.observed import JobObserved, Raw
from slipway.plan.failures import WAITED
from slipway.plan.stages import State, Step, Template, Try, last_progress
from slipway.plan.symptoms import Symptoms
from slipway.status import parse_time

STAGE_LABEL: Final = "slipway.dev/stage"
ATTEMPT: Final = "slipway.dev/attempt"
COUNT: Final = "slipway.dev/try"
LIMITED: Final = "slipway.dev/failed-tries"
MEMORY: Final = "slipway.dev/memory-factor"
STAMP: Final = "slipway.dev/stamp"
TEMPLATE: Final = "slipway.dev/template-hash"
CLAIM: Final = "slipway.dev/claim-uid"
"""Annotations of our Jobs, written once: which try it is, under which circumstances, and into which claim."""
RETRY: Final = "slipway.dev/retry"
"""Annotation of a user on a ModelDeployment: any new value tries again what failed for good."""


def stamped_job(job: Raw, step: Step, stamp: str, claim: str = "") -> Raw:
    """The Job of a step, with the memory that it gets and the annotations that later passes read.

    Args:
        job: as built.
        step: which try it is.
        stamp: fingerprint of the circumstances.
        claim: uid of the claim that it writes into, empty for none.
    """
    job = with_memory(job, step.memory)
    meta = job["metadata"]
    marks = {
        ATTEMPT: str(step.attempt),
        COUNT: str(step.count),
        LIMITED: str(step.limited),
        MEMORY: str(step.memory),
        STAMP: stamp,
        TEMPLATE: _look(job),
    }
    if claim:
        marks[CLAIM] = claim
    return {**job, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), **marks}}}


def template_of(job: Raw) -> Template:
    """What tells whether a Job of before is the one that is wished now, ``job``, as built for any attempt."""
    return lambda memory: _look(with_memory(job, memory))


def _look(job: Raw) -> str:
    """Hash of the pods' template, and of Kueue's labels where there are any."""
    labels = kueue.labels_of(job)
    template = job["spec"]["template"]
    looks = [template, labels] if labels else template
    return hashlib.sha256(orjson.dumps(looks, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def tries(
    jobs: Iterable[JobObserved], stage: str, now: datetime, said: Iterable[Mapping[str, Any]] = ()
) -> list[Try]:
    """Every Job of one stage as a try; those being deleted no longer count.

    Args:
        jobs: of any stage.
        stage: the one asked for.
        now: wall clock.
        said: observed conditions of the owner: what a pod waited for, once it is gone.
    """
    waited = _waited({one["type"]: one for one in said})
    return [
        _try(observed, now, waited)
        for observed in jobs
        if observed.job["metadata"].get("labels", {}).get(STAGE_LABEL) == stage
        and "deletionTimestamp" not in observed.job["metadata"]
    ]


def _try(observed: JobObserved, now: datetime, waited: Mapping[str, Any]) -> Try:
    meta = observed.job["metadata"]
    marks = meta.get("annotations", {})
    state, ended, reason = _state(observed.job)
    pod = _newest(observed.pods)
    seen = _symptoms(pod, now, failed=state is State.FAILED, ended=ended is not None, job_reason=reason)
    if state is State.RUNNING and pod is None:
        seen = replace(seen, job=meta["name"], podless_seconds=_podless_seconds(observed.job, now))
    if waited and _never_ran(pod) and (ended is None or reason == "DeadlineExceeded"):
        seen = replace(seen, waited=waited["reason"], waited_message=waited["message"])
    if state is State.RUNNING and observed.job.get("spec", {}).get("suspend"):
        queue = meta.get("labels", {}).get(kueue.QUEUE, "")
        seen = Symptoms(job=meta["name"], suspended=True, queue=queue)
    return Try(
        name=meta["name"],
        attempt=int(marks.get(ATTEMPT, "1")),
        count=int(marks.get(COUNT, "1")),
        stamp=marks.get(STAMP, ""),
        state=state,
        ended=ended,
        symptoms=seen,
        alive=pod is not None and pod["status"].get("phase") == "Running",
        ran=any(map(_ran, observed.pods)),
        result=seen.result if state is State.SUCCEEDED and seen.result.get("ok") else {},
        progress=last_progress(observed.tail),
        jitter=zlib.crc32(meta["uid"].encode()) / 2**32,
        limited=int(marks.get(LIMITED, "0")),
        memory=int(marks.get(MEMORY, "1")),
        template=marks.get(TEMPLATE, ""),
    )


def _waited(said: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The condition that says what a Job's pod waits for: of an inspection, an artifact, a benchmark."""
    kinds = (reasons.SOURCE_RESOLVED, reasons.READY, reasons.PROGRESSING)
    one = next((said[kind] for kind in kinds if kind in said), {})
    return one if one.get("reason") in WAITED else {}


def _never_ran(pod: Raw | None) -> bool:
    """Whether nothing shows that the pod ran: it is gone, or going before a container started."""
    return pod is None or (
        "deletionTimestamp" in pod["metadata"] and pod["status"].get("phase", "Pending") == "Pending"
    )


def _ran(pod: Raw) -> bool:
    """Whether a container of the pod was started, or may have been."""
    containers = pod["status"].get("containerStatuses", ())
    states = [one.get(part) or {} for one in containers for part in ("state", "lastState")]
    started = any("running" in state or "terminated" in state for state in states)
    return started or pod["status"].get("phase", "Pending") != "Pending"


def _podless_seconds(job: Raw, now: datetime) -> float:
    """How long a Job has had no pod, as seen by its controller, too; 0 for one that is not to have any."""
    status = job.get("status", {})
    held = any(one["type"] == "Suspended" and one["status"] == "True" for one in status.get("conditions", ()))
    if held or status.get("active"):
        return 0.0
    since = status.get("startTime") or job["metadata"]["creationTimestamp"]  # it starts when it is let go
    return (now - parse_time(since)).total_seconds()


def _state(job: Raw) -> tuple[State, datetime | None, str]:
    one = job_ended(job)
    if one is None:
        return State.RUNNING, None, ""
    state = State.SUCCEEDED if one["type"] == "Complete" else State.FAILED
    return state, parse_time(one["lastTransitionTime"]), one.get("reason", "")


def _newest(pods: tuple[Raw, ...]) -> Raw | None:
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def living(pods: Iterable[Raw]) -> list[Raw]:
    """Engine pods, workers of a replica among them, that neither ended nor are going."""
    return [
        pod
        for pod in pods
        if pod["metadata"].get("labels", {}).get(COMPONENT_LABEL) in ENGINE
        and "deletionTimestamp" not in pod["metadata"]
        and pod["status"].get("phase") not in ("Failed", "Succeeded")
    ]


def engine_symptoms(pod: Raw, now: datetime, log: str = "") -> Symptoms:
    """Symptoms of an engine pod; ``log`` is of its last crash, as far as it was read."""
    return replace(_symptoms(pod, now, failed=False, ended=False, job_reason=""), engine=True, log=log)


def _symptoms(pod: Raw | None, now: datetime, *, failed: bool, ended: bool, job_reason: str) -> Symptoms:
    if pod is None:
        return Symptoms(failed=failed, gone=ended, job_reason=job_reason)
    container = telling(pod["status"])
    dead = terminated(container)
    waiting = container.get("state", {}).get("waiting") or {}
    result, words = _result(dead.get("message", ""))
    disrupted, disruption_message = _disruption(pod)
    unschedulable, seconds = _unschedulable(pod, now)
    scheduled = _since(pod, "PodScheduled", now)
    return Symptoms(
        failed=failed,
        gone=ended and not dead and not disrupted,
        job_reason=job_reason,
        exit_code=dead.get("exitCode"),
        result=result,
        words=words,
        terminated=dead.get("reason", ""),
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        image=container.get("image") or _image(pod),
        disrupted=disrupted,
        disruption_message=disruption_message,
        evicted=_eviction(pod),
        unschedulable=unschedulable,
        unschedulable_seconds=seconds,
        scheduled_seconds=scheduled,
        sandboxed=_condition(pod, "PodReadyToStartContainers").get("status") == "True",
        pod=pod["metadata"]["name"],
        mounts=_mounts(pod),
    )


def _image(pod: Raw) -> str:
    containers = pod["spec"].get("containers") or [{}]
    return str(containers[0].get("image", ""))


def _result(message: str) -> tuple[Mapping[str, Any], str]:
    try:
        found = orjson.loads(message)
    except orjson.JSONDecodeError:
        return {}, message
    return (found, "") if isinstance(found, dict) and "ok" in found else ({}, message)


def _disruption(pod: Raw) -> tuple[str, str]:
    status = pod["status"]
    for one in status.get("conditions", ()):
        if one["type"] == "DisruptionTarget" and one["status"] == "True":
            return one.get("reason", "DisruptionTarget"), one.get("message", "")
    if status.get("reason") in ("Evicted", "Shutdown", "NodeLost", "NodeShutdown", "Preempting"):
        return str(status["reason"]), status.get("message", "")
    return "", ""


def _eviction(pod: Raw) -> str:
    """The kubelet's words when it ended the pod for what it used; a pod that it never took has used nothing.

    The condition DisruptionTarget has one reason for that, for a node that shuts down and for preemption.
    """
    status = pod["status"]
    words = str(status.get("message", ""))
    ended = status.get("reason") == "Evicted" and not words.startswith("The node had condition")
    return (words or "no more is known") if ended else ""


def _condition(pod: Raw, kind: str) -> Mapping[str, Any]:
    return next((one for one in pod["status"].get("conditions", ()) if one["type"] == kind), {})


def _since(pod: Raw, kind: str, now: datetime) -> float:
    """Seconds since a condition came true; 0 when it has not."""
    one = _condition(pod, kind)
    if one.get("status") != "True" or not one.get("lastTransitionTime"):
        return 0.0
    return (now - parse_time(one["lastTransitionTime"])).total_seconds()


def _mounts(pod: Raw) -> tuple[str, ...]:
    """What has to exist before the pod's containers can be made."""
    found = []
    for one in pod["spec"].get("volumes", ()):
        if "persistentVolumeClaim" in one:
            found.append(f"PersistentVolumeClaim {one['persistentVolumeClaim']['claimName']}")
        elif "configMap" in one and not one["configMap"].get("optional"):
            found.append(f"ConfigMap {one['configMap']['name']}")
        elif "secret" in one and not one["secret"].get("optional"):
            found.append(f"Secret {one['secret']['secretName']}")
    return tuple(found)


def _unschedulable(pod: Raw, now: datetime) -> tuple[str, float]:
    for one in pod["status"].get("conditions", ()):
        if (
            one["type"] == "PodScheduled"
            and one["status"] == "False"
            and one.get("reason") == "Unschedulable"
        ):
            since = parse_time(one.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])
            return one.get("message", ""), (now - since).total_seconds()
    return "", 0.0
