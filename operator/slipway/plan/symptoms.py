"""What is seen of a pod or a Job that is not well; read by ``plan.failures``, filled by ``passes.tries``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Symptoms:
    """What is seen of a Job's last pod, or of an engine pod; empty strings and None for what is not there.

    Attributes:
        failed: the Job is Failed (false: it runs, or the pod is an engine's).
        gone: the Job ended and no pod is left to say how.
        job_reason: reason of the Job's Failed condition.
        exit_code: of the container that ended.
        result: what it wrote as its termination message, parsed.
        words: the termination message when it is no result: the container's last words.
        log: of the run that ended, where the words only point at it; empty where nothing was read.
        terminated: the kubelet's reason, such as OOMKilled.
        waiting: the kubelet's reason for a container that waits, such as ImagePullBackOff.
        waiting_message: the kubelet's words to it.
        image: image of that container.
        disrupted: reason of the pod's DisruptionTarget condition, or Evicted.
        disruption_message: the words to it.
        unschedulable: the scheduler's words.
        unschedulable_seconds: for how long.
        scheduled_seconds: how long ago a node took the pod; 0 when none has.
        sandboxed: the pod's volumes and network are there, so that only its image can be missing.
        pod: its name.
        mounts: claims and ConfigMaps that its containers can't start without, as ``Kind name``.
        waited: reason of the last WAITING verdict on this stage, for a Job whose pod is not there any more.
        waited_message: its words.
        engine: the pod is an engine's, else a Job's: what a person does about it differs.
        evicted: the kubelet's words when it ended the pod to save its node.
        job: name of the Job, empty for an engine.
        podless_seconds: how long a Job that should run has had no pod at all.
        suspended: the Job is, by Kueue or by hand; queue: the queue of Kueue that it is for, if one.
    """

    failed: bool = False
    gone: bool = False
    job_reason: str = ""
    exit_code: int | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    log: str = ""
    terminated: str = ""
    waiting: str = ""
    waiting_message: str = ""
    image: str = ""
    disrupted: str = ""
    disruption_message: str = ""
    unschedulable: str = ""
    unschedulable_seconds: float = 0.0
    scheduled_seconds: float = 0.0
    sandboxed: bool = False
    pod: str = ""
    mounts: tuple[str, ...] = ()
    waited: str = ""
    waited_message: str = ""
    engine: bool = False
    evicted: str = ""
    job: str = ""
    podless_seconds: float = 0.0
    suspended: bool = False
    queue: str = ""
