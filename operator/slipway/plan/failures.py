"""The one table of what can go wrong in a Job or an engine pod, and what it means.

Pure, for ``plan.stages`` and passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from slipway.api import reasons
from slipway.plan import advice
from slipway.plan.symptoms import Symptoms
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
        reasons.UNSCHEDULABLE, reasons.STORE_CANNOT_SPREAD, reasons.POD_REFUSED,
    }
)  # fmt: skip
"""Reasons of a pod that never ran: a deadline that ends it says nothing of the stage."""
EXIT_OOM: Final = 137


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
CREATING: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""The kubelet's reasons for a container that is not made yet."""
_KILLED: Final = frozenset({137, 143})
"""128 + SIGKILL, 128 + SIGTERM."""
_BOUND: Final = ("volume node affinity conflict", "didn't match persistentvolume's node affinity")
"""The scheduler's words, older and newer, for a volume that only other nodes can reach."""


def _always(reason: str) -> Callable[[Symptoms], str]:
    return lambda _: reason


def _result_reason(seen: Symptoms) -> str:
    return str(seen.result.get("reason") or reasons.INTERNAL_ERROR)


def _is_bound(seen: Symptoms) -> bool:
    """Whether a volume keeps the pod off the nodes that could take it."""
    return any(words in seen.unschedulable.lower() for words in _BOUND)


ROWS: Final[tuple[Row, ...]] = (
    Row(
        # Nothing else counts of a Job that is held: whoever suspends it takes its pod away.
        lambda s: s.suspended,
        _always(reasons.QUEUED),
        Kind.WAITING,
        advice.suspended,
    ),
    Row(
        # The deadline's end takes the pod away: what it waited for is known from before only.
        lambda s: bool(s.waited),
        lambda s: s.waited,
        Kind.WAITING,
        lambda s: s.waited_message,
    ),
    Row(
        # The tool alone may have been killed, and the stage lived to tell.
        lambda s: s.terminated == "OOMKilled" or s.result.get("reason") == reasons.OUT_OF_MEMORY,
        _always(reasons.OUT_OF_MEMORY),
        Kind.LIMITED,
        advice.out_of_memory,
    ),
    Row(
        # No disruption: what a pod of this size does to a node, the next one does again.
        lambda s: bool(s.evicted),
        _always(reasons.EVICTED),
        Kind.LIMITED,
        advice.evicted,
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
        advice.said,
    ),
    Row(
        lambda s: s.failed and s.exit_code == Exit.TRANSIENT,
        lambda s: str(s.result.get("reason") or reasons.HUB_UNAVAILABLE),
        Kind.TRANSIENT,
        advice.said,
    ),
    Row(
        lambda s: s.failed and s.exit_code in PERMANENT,
        lambda s: _WITHOUT_RESULT[s.exit_code or 0],
        Kind.PERMANENT,
        advice.said,
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
        advice.said,
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
        advice.unpulled,
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
        lambda s: f"the engine exits again and again; its last words: {advice.said(s)}",
    ),
    Row(
        lambda s: _is_bound(s) and s.unschedulable_seconds > UNSCHEDULABLE_SECONDS,
        _always(reasons.STORE_CANNOT_SPREAD),
        Kind.WAITING,
        advice.unreachable,
    ),
    Row(
        lambda s: bool(s.unschedulable) and s.unschedulable_seconds > UNSCHEDULABLE_SECONDS,
        _always(reasons.UNSCHEDULABLE),
        Kind.WAITING,
        lambda s: f"no node takes the pod: {s.unschedulable}",
    ),
    Row(
        lambda s: s.waiting in CREATING and s.scheduled_seconds > CREATING_SECONDS,
        _always(reasons.CONTAINER_CREATING),
        Kind.WAITING,
        advice.creating,
    ),
    Row(
        lambda s: s.podless_seconds > CREATING_SECONDS,
        _always(reasons.POD_REFUSED),
        Kind.WAITING,
        advice.refused,
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
