"""The one table of what can go wrong in a Job or an engine pod, and what it means.

Pure, for ``plan.stages`` and passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from slipway.api import reasons
from slipway_runtime.contract import PERMANENT, Exit


class Kind(Enum):
    """What a failure means for the next try."""

    PERMANENT = "permanent"
    """The same try would fail again: nothing is tried until spec, credential or retry annotation changes."""
    LIMITED = "limited"
    """May be chance: tried ``LIMITED_TRIES`` times, then permanent."""
    TRANSIENT = "transient"
    """Tried again for ever, ever more slowly."""
    WAITING = "waiting"
    """Nothing has failed: the pod waits for somebody, and goes on by itself."""


LIMITED_TRIES: Final = 3
UNSCHEDULABLE_SECONDS: Final = 60.0
"""A pod that waits longer than this for a node is worth a condition; adding a node takes about that."""
CREATING_SECONDS: Final = 60.0
"""A container that is not made within this is worth a condition: a volume attaches in less."""
WAITED: Final = frozenset(
    {
        reasons.IMAGE_PULL_FAILED, reasons.CONTAINER_CONFIG_ERROR, reasons.CONTAINER_CREATING,
        reasons.UNSCHEDULABLE,
    }
)  # fmt: skip
"""Reasons of a pod that never ran: a deadline that ends it says nothing of the stage."""
EXIT_OOM: Final = 137


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
    """

    failed: bool = False
    gone: bool = False
    job_reason: str = ""
    exit_code: int | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
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


@dataclass(frozen=True)
class Verdict:
    """A row's answer: a documented reason, what it means, and a sentence for a person."""

    reason: str
    kind: Kind
    message: str


@dataclass(frozen=True)
class Row:
    """One row: the first that applies answers."""

    applies: Callable[[Symptoms], bool]
    reason: Callable[[Symptoms], str]
    kind: Kind
    message: Callable[[Symptoms], str]


_WITHOUT_RESULT: Final[Mapping[int, str]] = MappingProxyType(
    {
        Exit.DATA: reasons.INVALID_SOURCE,
        Exit.NO_INPUT: reasons.REPOSITORY_NOT_FOUND,
        Exit.NO_PERMISSION: reasons.TOKEN_REJECTED,
        Exit.CONFIG: reasons.INVALID_SPEC,
        Exit.NO_SPACE: reasons.STORE_FULL,
    }
)
"""Reason by exit code, for a stage that ended without its result."""
_PULL: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
     "RegistryUnavailable", "SignatureValidationFailed"}
)  # fmt: skip
_CONFIG: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreStartHookError"}
)
_CREATING: Final = frozenset({"ContainerCreating", "PodInitializing"})
_KILLED: Final = frozenset({137, 143})
"""128 + SIGKILL, 128 + SIGTERM."""


def _always(reason: str) -> Callable[[Symptoms], str]:
    return lambda _: reason


def _said(seen: Symptoms) -> str:
    text = str(seen.result.get("message") or "") or seen.words or "no last words"
    code = "" if seen.result.get("message") or seen.exit_code is None else f" (exit code {seen.exit_code})"
    return f"{text.strip()[-1500:]}{code}"


def _result_reason(seen: Symptoms) -> str:
    return str(seen.result.get("reason") or reasons.INTERNAL_ERROR)


def _creating(seen: Symptoms) -> str:
    if seen.sandboxed:
        return f"image {seen.image} is still being pulled for pod {seen.pod}"
    needs = f" ({', '.join(seen.mounts)})" if seen.mounts else ""
    return (
        f"pod {seen.pod} has a node, but its container is not made: a volume is not attached or mounted"
        f"{needs}, or the network is not ready; kubectl describe pod {seen.pod} shows why"
    )


ROWS: Final[tuple[Row, ...]] = (
    Row(
        # The deadline's end takes the pod away: what it waited for is known from before only.
        lambda s: bool(s.waited),
        lambda s: s.waited,
        Kind.WAITING,
        lambda s: s.waited_message,
    ),
    Row(
        lambda s: s.terminated == "OOMKilled",
        _always(reasons.OUT_OF_MEMORY),
        Kind.LIMITED,
        lambda s: (
            f"killed for memory: {_said(s)}. Its memory limit follows from the model's size; "
            "set spec.engine.resources.memory for the engine, or use nodes with more memory"
        ),
    ),
    Row(
        lambda s: bool(s.disrupted),
        _always(reasons.RETRYING),
        Kind.TRANSIENT,
        lambda s: f"the pod was disrupted ({s.disrupted}): {s.disruption_message or 'no more is known'}",
    ),
    Row(
        lambda s: s.failed and bool(s.result) and s.exit_code in PERMANENT,
        _result_reason,
        Kind.PERMANENT,
        _said,
    ),
    Row(
        lambda s: s.failed and s.exit_code == Exit.TRANSIENT,
        lambda s: str(s.result.get("reason") or reasons.HUB_UNAVAILABLE),
        Kind.TRANSIENT,
        _said,
    ),
    Row(
        lambda s: s.failed and s.exit_code in PERMANENT,
        lambda s: _WITHOUT_RESULT[s.exit_code or 0],
        Kind.PERMANENT,
        _said,
    ),
    Row(
        lambda s: s.failed and s.job_reason == "DeadlineExceeded",
        _always(reasons.DEADLINE_EXCEEDED),
        Kind.LIMITED,
        lambda _: "the Job ran longer than it may; what is done is kept, the next try resumes",
    ),
    Row(
        lambda s: s.failed and s.exit_code in _KILLED,
        _always(reasons.RETRYING),
        Kind.TRANSIENT,
        lambda s: f"the container was killed by signal {(s.exit_code or 0) - 128}; the next try resumes",
    ),
    Row(
        lambda s: s.failed and s.exit_code is not None and s.exit_code != 0,
        _result_reason,
        Kind.LIMITED,
        _said,
    ),
    Row(
        lambda s: s.failed or s.gone,
        _always(reasons.RETRYING),
        Kind.TRANSIENT,
        lambda _: (
            "the pod vanished before its result was read; the stage runs again and verifies what is there"
        ),
    ),
    Row(
        lambda s: s.waiting in _PULL,
        _always(reasons.IMAGE_PULL_FAILED),
        Kind.WAITING,
        lambda s: (
            f"image {s.image} can't be pulled: {s.waiting_message or s.waiting}. "
            "Correct the reference, or give a pull secret; it is tried again by itself"
        ),
    ),
    Row(
        lambda s: s.waiting in _CONFIG,
        _always(reasons.CONTAINER_CONFIG_ERROR),
        Kind.WAITING,
        lambda s: f"the container can't be made ({s.waiting}): {s.waiting_message}",
    ),
    Row(
        lambda s: s.waiting == "CrashLoopBackOff",
        _always(reasons.CRASH_LOOP),
        Kind.WAITING,
        lambda s: f"the engine exits again and again; its last words: {_said(s)}",
    ),
    Row(
        lambda s: bool(s.unschedulable) and s.unschedulable_seconds > UNSCHEDULABLE_SECONDS,
        _always(reasons.UNSCHEDULABLE),
        Kind.WAITING,
        lambda s: f"no node takes the pod: {s.unschedulable}",
    ),
    Row(
        lambda s: s.waiting in _CREATING and s.scheduled_seconds > CREATING_SECONDS,
        _always(reasons.CONTAINER_CREATING),
        Kind.WAITING,
        _creating,
    ),
)


def judge(seen: Symptoms) -> Verdict | None:
    """The verdict on what is seen; None when nothing is wrong.

    Args:
        seen: symptoms of a Job that ended without success, of a running Job's pod, or of an engine pod.
    """
    for row in ROWS:
        if row.applies(seen):
            return Verdict(row.reason(seen), row.kind, row.message(seen))
    return None
