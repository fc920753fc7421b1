"""One pass: observe, decide, write. The operator's table of contents; called by the workers of ``serve``.

key -> observe.snapshot -> passes.decide (pure) -> apply -> status -> events
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from slipway import status
from slipway.api import reasons
from slipway.apply import Applier, count_refused
from slipway.errors import LeftoverError, NameTakenError, RejectedError
from slipway.kube import Raw
from slipway.observe import kinds
from slipway.observe.observer import Observer
from slipway.observe.slots import Slots
from slipway.passes import artifact, model
from slipway.passes.outcome import Outcome
from slipway.queue import Key
from slipway.settings import Settings
from slipway.status import Note

BEHIND_POLICY: Final = frozenset({"Deployment", "LeaderWorkerSet", "Job"})
"""Kinds whose pods must not run without their NetworkPolicy: not written while it is refused."""
CONFLICT_SECONDS = 15.0
"""How often a foreign object that is in the way is looked at: we watch only what is ours."""
LEFTOVER_SECONDS = 1.0
"""How often a deleted owner's object is looked at: the garbage collector takes it in seconds."""


@dataclass(frozen=True)
class Reconciler:
    """The pass over any object of ours.

    Args:
        slots: who may start a Job.
        now: wall clock.
    """

    observer: Observer
    slots: Slots
    applier: Applier
    settings: Settings
    now: Callable[[], datetime]

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object closer to what is wished.

        Returns:
            Seconds until the next look; None when only an event brings one.

        Raises:
            ApiError: try again after a backoff.
        """
        if key.kind == "ModelArtifact":
            with self.slots.visit(key):
                return await self._reconcile_artifact(key)
        seen = await self.observer.snapshot_model(key)
        if seen is None:
            return None  # gone, or going: the garbage collector takes the children
        held = (*seen.children, *seen.pools)
        return await self._write(seen.model, held, model.decide(seen, self.settings, self.now()))

    async def _reconcile_artifact(self, key: Key) -> float | None:
        built = await self.observer.snapshot_artifact(key)
        if built is None:
            return None
        if built.claim is not None:  # its content is not made anew, so nothing else would write it
            await self.applier.relabel(built.claim, kinds.OURS_LABELS)
        # No await from here to "take": nobody else may be given the same slot.
        ask = partial(self.slots.turn, built.artifact)
        outcome = artifact.decide(built, self.settings, self.now(), ask)
        self.slots.take(key, outcome.create, outcome.status)
        return await self._write(built.artifact, built.children, outcome)

    async def _write(self, raw: Raw, children: tuple[Raw, ...], outcome: Outcome) -> float | None:
        troubles = await self._write_children(raw, children, outcome)
        if troubles:
            outcome = _troubled(raw, outcome, troubles, self.now())
        if outcome.owners is not None:
            await self.applier.apply_owners(raw, list(outcome.owners))
        if outcome.status is not None:
            await self.applier.apply_status(raw, outcome.status)
        for note in outcome.notes:
            at = status.micro_timestamp(self.now())
            await self.applier.post_event(raw, note.kind, note.reason, note.text, at)
        return outcome.requeue_after

    async def _write_children(
        self, raw: Raw, children: tuple[Raw, ...], outcome: Outcome
    ) -> list[tuple[str, str]]:
        """Write all that can be written; returns reason and message of what was refused."""
        uid = raw["metadata"]["uid"]
        held = {(child["kind"], child["metadata"]["name"]): child for child in children}
        troubles: list[tuple[str, str]] = []
        for gone in outcome.delete:
            await self.applier.delete(gone)
        if outcome.keep_replicas is not None:
            await self.applier.keep_replicas(outcome.keep_replicas)
        # Applied first: a NetworkPolicy is there before the pods that it is for, or they do not come.
        fenced = True
        for number, body in enumerate((*outcome.apply, *outcome.create)):
            if not fenced and body["kind"] in BEHIND_POLICY:
                continue
            create = number >= len(outcome.apply)
            observed = None if create else held.get((body["kind"], body["metadata"]["name"]))
            trouble = await self._write_child(body, observed, uid, create=create)
            if trouble is not None:
                troubles.append(trouble)
                fenced = fenced and body["kind"] != "NetworkPolicy"
        return troubles

    async def _write_child(
        self, body: Raw, observed: Raw | None, uid: str, *, create: bool
    ) -> tuple[str, str] | None:
        """Write one child; returns reason and message when it was refused."""
        try:
            if create:
                await self.applier.create(body, uid)
            else:
                await self.applier.apply_child(body, observed, uid)
        except NameTakenError as error:
            text = f"{error}; rename the ModelDeployment, or rename or delete that {error.kind}"
            return reasons.NAME_CONFLICT, text
        except LeftoverError as error:
            return reasons.WAITING, f"{error}; it is waited for"
        except RejectedError as error:
            count_refused(body["kind"], error)
            text = f"{body['kind']} {body['metadata']['name']} was refused: {error.message}"
            return reasons.APPLY_REJECTED, text
        return None


def _troubled(raw: Raw, outcome: Outcome, troubles: list[tuple[str, str]], now: datetime) -> Outcome:
    """The outcome with a status that says what could not be written."""
    reason, text = troubles[0][0], "; ".join(message for _, message in troubles)
    old = (raw.get("status") or {}).get("conditions") or []
    before = {one["type"]: one for one in old}
    conditions: list[dict[str, Any]] = [dict(one) for one in (outcome.status or {}).get("conditions", ())]
    for one in conditions:
        if one["type"] in (reasons.READY, reasons.PROGRESSING):
            held = before.get(one["type"], {})
            same = held.get("status") == "False"
            since = held["lastTransitionTime"] if same else status.timestamp(now)
            one.update(status="False", reason=reason, message=text, lastTransitionTime=since)
    quiet = before.get(reasons.READY, {}).get("reason") == reason or reason in status.QUIET
    notes = () if quiet else (Note("Warning", reason, f"Ready: {text}"),)
    whole = {**(outcome.status or {}), "conditions": conditions}
    seconds = LEFTOVER_SECONDS if reason == reasons.WAITING else CONFLICT_SECONDS
    return replace(outcome, status=whole, notes=notes, requeue_after=seconds)
