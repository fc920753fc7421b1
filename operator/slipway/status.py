"""Conditions and what follows from their change: pure, shared by both passes; written by ``reconcile``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from slipway.api import reasons

MESSAGE_LIMIT: Final = 4096
"""Characters of a condition's message; what a Job says is bounded to 2 KiB anyway."""
QUIET: Final = frozenset(
    {
        reasons.WAITING, reasons.INSPECTING, reasons.PLANNING, reasons.BUILDING, reasons.STARTING,
        reasons.ROLLING_OUT, reasons.BENCHMARKING, reasons.WAITING_FOR_PARENT, reasons.SETTLED,
        reasons.RETRYING, reasons.QUEUED,
    }
)  # fmt: skip
"""Reasons that say "under way": no event."""
NORMAL: Final = frozenset(
    {
        reasons.RESOLVED, reasons.DECIDED, reasons.BUILT, reasons.SERVING, reasons.PASSED, reasons.SUSPENDED,
        reasons.SCALED_TO_ZERO, reasons.IN_ORDER,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """One condition; ``status`` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Note:
    """An Event to post: ``Normal`` or ``Warning``, reason, text."""

    kind: str
    reason: str
    text: str


def timestamp(now: datetime) -> str:
    """RFC 3339 in UTC, whole seconds, as metav1.Time writes it."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(now: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as metav1.MicroTime writes it."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """A metav1.Time or MicroTime."""
    return datetime.fromisoformat(text)


def merge_conditions(
    old: Sequence[Mapping[str, Any]], new: Iterable[Condition], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Conditions for status; lastTransitionTime moves only when the status does."""
    before = {one["type"]: one for one in old}
    merged = []
    for one in new:
        held = before.get(one.type, {})
        same = held.get("status") == one.status
        merged.append(
            {
                "type": one.type,
                "status": one.status,
                "observedGeneration": generation,
                "lastTransitionTime": held["lastTransitionTime"] if same else timestamp(now),
                "reason": one.reason,
                "message": one.message[:MESSAGE_LIMIT],
            }
        )
    return merged


def notes(old: Sequence[Mapping[str, Any]], new: Iterable[Condition]) -> list[Note]:
    """Events for what changed: each step that came true, and what Ready says unless it is just under way."""
    before = {one["type"]: (one["status"], one["reason"]) for one in old}
    found = []
    for one in new:
        if before.get(one.type) == (one.status, one.reason) or one.reason in QUIET:
            continue
        if one.status == "True" or one.type == reasons.READY:
            kind = "Normal" if one.reason in NORMAL else "Warning"
            found.append(Note(kind, one.reason, f"{one.type}: {one.message}"))
    return found


def compact(value: Any) -> Any:
    """The value without None, at any depth: status has no nulls, the API server would drop them."""
    if isinstance(value, Mapping):
        return {key: compact(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [compact(inner) for inner in value]
    return value
