"""The slots of Jobs: what is taken, who waits, and who is woken when one gets free. Asked by ``reconcile``.

Everything is read from the caches, so another leader goes on where this one stopped: unfinished Jobs take
slots, artifacts whose condition says Queued wait. The one thing in memory is what the caches can't know yet:
a Job that a pass has decided on and whose creation is under way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from slipway import metrics
from slipway.manifests.names import ARTIFACT
from slipway.observe.job_states import counts, ended, queued, said
from slipway.observe.observed import Raw
from slipway.observe.store import Store
from slipway.plan.failures import WAITED
from slipway.plan.job_queue import SHOWN, Line, Slot, Turn, Wish, in_turn, turn
from slipway.queue import Key
from slipway.status import parse_time

KIND: Final = "ModelArtifact"
STUCK_SECONDS: Final = 1800.0
"""After so long a Job whose pod never found a node, an image or a volume gives its slot away.

Not sooner: an autoscaler that adds a node takes minutes, and must not be shown the whole queue.
"""
LAG_SECONDS: Final = 10.0
"""How long a Job counts whose creation was not answered: the cache shows it by then, if it was made."""


@dataclass(frozen=True)
class _Reserved:
    """A Job that is being created; ``until`` is monotonic seconds, infinite while its pass runs."""

    slot: Slot
    at: datetime
    until: float = math.inf


class Slots:
    """Slots of one installation.

    Args:
        limit: Jobs at once; 0 for no cap.
        jobs: cache of Jobs.
        artifacts: cache of ModelArtifacts.
        enqueue: takes the key of an artifact that has to be looked at.
        clock: monotonic seconds.
        now: wall clock.
    """

    def __init__(
        self,
        limit: int,
        jobs: Store,
        artifacts: Store,
        enqueue: Callable[[Key], None],
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._limit = limit
        self._jobs = jobs
        self._artifacts = artifacts
        self._enqueue = enqueue
        self._clock = clock
        self._now = now
        self._reserved: dict[Key, _Reserved] = {}
        self._says: set[Key] = set()
        self._passed_over: set[Key] = set()
        self._at: tuple[object, ...] = ()
        self._known: tuple[Line, tuple[Wish, ...]] = (Line(limit), ())
        self._woken: tuple[object, ...] = ()

    def turn(self, artifact: Raw) -> Turn:
        """Whether the artifact's next Job may start now.

        Between the answer and ``take`` nobody else may ask: no await.
        """
        if not self._limit:
            return Turn()
        own = self._jobs.find(f"owner:{artifact['metadata']['uid']}")
        wish = _wish(artifact, map(ended, own))
        line, order = self._order()
        if wish not in order:
            mine = (wish.namespace, wish.artifact)
            others = (one for one in line.waiting if (one.namespace, one.artifact) != mine)
            served = {**self._served({wish.namespace}), **line.served}
            line = replace(line, waiting=(*others, wish), served=served)
            order = in_turn(line)
        return turn(line, order, wish)

    def take(self, key: Key, created: Iterable[Raw], status: Mapping[str, Any] | None) -> None:
        """Note what a pass decided: count what it is about to create, and whether it says that it waits."""
        if queued(status):
            self._says.add(key)
        for body in created:
            if body["kind"] == "Job" and counts(body):
                slot = Slot(key.namespace, key.name, body["metadata"]["name"])
                self._reserved[key] = _Reserved(slot, self._now())

    @contextmanager
    def visit(self, key: Key) -> Iterator[None]:
        """Around the whole pass over an artifact; wakes others when it changed what they wait for.

        One whose pass failed, or left it as it is, does not keep a slot from the others though its condition
        says Queued; until a pass says so again.
        """
        self._says.discard(key)
        try:
            yield
        except Exception:
            self._passed_over.add(key)
            if (held := self._reserved.get(key)) is not None:
                self._reserved[key] = replace(held, until=self._clock() + LAG_SECONDS)
            raise
        else:
            self._note(key)
            if (held := self._reserved.get(key)) is not None and held.until == math.inf:
                del self._reserved[key]  # the Job is in the cache by now, or was refused
        finally:
            if self._limit:
                self._wake()

    def _note(self, key: Key) -> None:
        held = self._artifacts.get(key.namespace, key.name)
        left = held is not None and queued(held.get("status")) and key not in self._says
        (self._passed_over.add if left else self._passed_over.discard)(key)

    def _wake(self) -> None:
        line, order = self._order()
        heads = order[: line.free + SHOWN]
        if (line.taken, heads) == self._woken:
            return
        self._woken = (line.taken, heads)
        metrics.JOBS_QUEUED.set(len(order))
        metrics.SLOTS_TAKEN.set(len(line.taken))
        for wish in heads:
            self._enqueue(Key(KIND, wish.namespace, wish.artifact))

    def _order(self) -> tuple[Line, tuple[Wish, ...]]:
        """The line and its order, reckoned once for as long as nothing changes."""
        taken = tuple(self._taken())
        now = (self._jobs.changes, self._artifacts.changes, taken, frozenset(self._passed_over))
        if now != self._at:
            waiting = tuple(filter(None, map(self._wish, self._artifacts.find("queued"))))
            line = Line(self._limit, taken, waiting, self._served({one.namespace for one in waiting}))
            self._at, self._known = now, (line, in_turn(line))
        return self._known

    def _taken(self) -> Iterator[Slot]:
        for job in self._jobs.find("unfinished"):
            if not self._stuck(job):
                meta = job["metadata"]
                yield Slot(meta["namespace"], meta["labels"][ARTIFACT], meta["name"])
        now = self._clock()
        for key, held in list(self._reserved.items()):
            if held.until <= now:
                del self._reserved[key]
            elif self._jobs.get(held.slot.namespace, held.slot.job) is None:
                yield held.slot

    def _stuck(self, job: Raw) -> bool:
        meta = job["metadata"]
        artifact = self._artifacts.get(meta["namespace"], meta["labels"][ARTIFACT]) or {}
        if said(artifact.get("status")) not in WAITED:
            return False
        return (self._now() - parse_time(meta["creationTimestamp"])).total_seconds() > STUCK_SECONDS

    def _wish(self, artifact: Raw) -> Wish | None:
        """What it waits for; None when that is no slot: one that Kueue holds, or that is passed over."""
        meta = artifact["metadata"]
        if (KIND, meta["namespace"], meta["name"]) in self._passed_over or "deletionTimestamp" in meta:
            return None
        verdicts = [ended(job) for job in self._jobs.find(f"owner:{meta['uid']}")]
        return _wish(artifact, verdicts) if all(verdicts) else None

    def _served(self, namespaces: Iterable[str]) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        for name in namespaces:
            made = (job["metadata"]["creationTimestamp"] for job in self._jobs.find(f"counts:{name}"))
            if newest := max(made, default=""):
                found[name] = parse_time(newest)
        for held in self._reserved.values():
            found[held.slot.namespace] = max(held.at, found.get(held.slot.namespace, held.at))
        return found


def _wish(artifact: Raw, verdicts: Iterable[Mapping[str, Any] | None]) -> Wish:
    meta = artifact["metadata"]
    failed = (str(one["lastTransitionTime"]) for one in verdicts if one and one["type"] == "Failed")
    # Times of one form, in UTC: the latest is the greatest text.
    return Wish(meta["namespace"], meta["name"], parse_time(max((meta["creationTimestamp"], *failed))))
