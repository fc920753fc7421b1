"""What a pass wants done, frozen, and the draft that it is written into.

Read by ``reconcile``, built by passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway import status
from slipway.api import reasons
from slipway.observe.observed import Raw
from slipway.status import Condition, Note


@dataclass(frozen=True)
class Outcome:
    """Writes that a pass asks for, in this order: delete, apply, create, owners, status, events.

    Attributes:
        create: objects that are created once and never changed.
        apply: children for server-side apply.
        delete: observed objects of ours that nobody needs.
        keep_replicas: observed Deployment whose replicas are an autoscaler's from now on.
        owners: the new owner references of the object itself; None for no change.
        status: the whole wished status; None when the object itself goes.
        requeue_after: seconds until the next look; None when only an event brings one.
    """

    status: Mapping[str, Any] | None
    create: tuple[Raw, ...] = ()
    apply: tuple[Raw, ...] = ()
    delete: tuple[Raw, ...] = ()
    keep_replicas: Raw | None = None
    owners: tuple[Raw, ...] | None = None
    notes: tuple[Note, ...] = ()
    requeue_after: float | None = None


@dataclass
class Draft:
    """An outcome in the making; lives inside one pass.

    Attributes:
        raw: the observed object.
        types: condition types, in the order of status.
        fields: status fields beside the conditions; starts as the observed ones.
        headline: reason and message of Ready while it is not True.
    """

    raw: Raw
    now: datetime
    types: tuple[str, ...]
    fields: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    create: list[Raw] = field(default_factory=list)
    apply: list[Raw] = field(default_factory=list)
    delete: list[Raw] = field(default_factory=list)
    keep_replicas: Raw | None = None
    owners: tuple[Raw, ...] | None = None
    headline: tuple[str, str] | None = None
    requeue: float | None = None

    def __post_init__(self) -> None:
        kept = self.raw.get("status") or {}
        self.fields = {key: value for key, value in kept.items() if key not in ("conditions", "progress")}

    @property
    def old_conditions(self) -> list[dict[str, Any]]:
        """The observed conditions."""
        return list((self.raw.get("status") or {}).get("conditions") or ())

    def was(self, kind: str) -> bool:
        """Whether a condition was True before this pass."""
        return any(one["type"] == kind and one["status"] == "True" for one in self.old_conditions)

    def holds(self, kind: str, reason: str, message: str) -> None:
        """Set one condition to True."""
        self.put(Condition(kind, "True", reason, message))

    def fails(self, kind: str, reason: str, message: str) -> None:
        """Set one condition to False."""
        self.put(Condition(kind, "False", reason, message))

    def unknown(self, kind: str, reason: str, message: str) -> None:
        """Set one condition to Unknown: it is being found out."""
        self.put(Condition(kind, "Unknown", reason, message))

    def put(self, one: Condition) -> None:
        """Set one condition. The first that is not True makes the headline; the checklist never does."""
        self.conditions[one.type] = one
        if one.status != "True" and self.headline is None and one.type != reasons.CHECKLIST_PASSED:
            self.headline = (one.reason, one.message)

    def look_again(self, seconds: float) -> None:
        """Ask for another pass; of several wishes the earliest counts."""
        self.requeue = seconds if self.requeue is None else min(self.requeue, seconds)

    def progressing(self, state: bool, reason: str, message: str) -> None:
        """Set Progressing, which never makes the headline."""
        self.conditions[reasons.PROGRESSING] = Condition(reasons.PROGRESSING, str(state), reason, message)

    def outcome(self, ready_reason: str, ready_message: str) -> Outcome:
        """Fill in what the pass did not reach, sum up in Ready, and freeze."""
        for kind in self.types:
            if kind not in (*self.conditions, reasons.READY, reasons.PROGRESSING):
                waits = "an earlier condition comes first"
                self.conditions[kind] = Condition(kind, "Unknown", reasons.WAITING, waits)
        if reasons.PROGRESSING not in self.conditions:
            self.progressing(
                self.headline is not None, *(self.headline or (reasons.SETTLED, "nothing is left to do"))
            )
        self.conditions[reasons.READY] = self._ready(ready_reason, ready_message)
        ordered = [self.conditions[kind] for kind in self.types]
        generation = int(self.raw["metadata"].get("generation", 0))
        merged = status.merge_conditions(self.old_conditions, ordered, generation, self.now)
        whole = {**self.fields, "observedGeneration": generation, "conditions": merged}
        return Outcome(
            status=status.compact(whole),
            create=tuple(self.create),
            apply=tuple(self.apply),
            delete=tuple(self.delete),
            keep_replicas=self.keep_replicas,
            owners=self.owners,
            notes=tuple(status.notes(self.old_conditions, ordered)),
            requeue_after=self.requeue,
        )

    def _ready(self, reason: str, message: str) -> Condition:
        if self.headline is None:
            return Condition(reasons.READY, "True", reason, message)
        return Condition(reasons.READY, "False", *self.headline)
