"""Who may start the next Job when only so many may run at once: fair between namespaces, then by age.

Pure; asked by ``observe.slots``, answered to ``passes.artifact``.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

SHOWN: Final = 10
"""Places that are told by number: a longer queue would be rewritten whole with every Job that ends."""
NAMED: Final = 3
"""Jobs that a message names."""


@dataclass(frozen=True)
class Slot:
    """A Job that counts: it is not finished, or it is about to be created."""

    namespace: str
    artifact: str
    job: str


@dataclass(frozen=True)
class Wish:
    """An artifact whose next Job waits for a slot.

    Attributes:
        since: when its turn began to count: its creation, or the end of its last failed try. What fails again
            and again goes to the end each time, so that it keeps nobody waiting.
    """

    namespace: str
    artifact: str
    since: datetime


@dataclass(frozen=True)
class Line:
    """All that the decision rests on.

    Attributes:
        limit: Jobs at once, at least 1.
        taken: slots in use; more than ``limit`` after it was lowered.
        waiting: at most one wish of an artifact; those that hold a slot are passed over.
        served: namespace to when it got its last slot, as far as that is known.
    """

    limit: int
    taken: tuple[Slot, ...] = ()
    waiting: tuple[Wish, ...] = ()
    served: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Slots that nobody uses."""
        return max(0, self.limit - len(self.taken))


@dataclass(frozen=True)
class Turn:
    """The answer to one artifact.

    Attributes:
        place: 0 when its Job may start now, else its number among those that have to wait, from 1.
        limit: Jobs at once; 0 for no cap.
        here: names of the Jobs of its own namespace that have a slot.
        elsewhere: how many others have one; their names are none of its users' business.
    """

    place: int = 0
    limit: int = 0
    here: tuple[str, ...] = ()
    elsewhere: int = 0

    @property
    def shown(self) -> bool:
        """Whether the place is told by number, so that it has to be kept true."""
        return self.place <= SHOWN

    @property
    def text(self) -> str:
        """What a person reads while it waits."""
        cap = f"{self.limit} at once (jobs.maxConcurrent of the chart)"
        if not self.shown:
            return f"more than {SHOWN} artifacts wait before it for one of the Jobs that may run, {cap}"
        names = ", ".join(self.here[:NAMED])
        more = f" and {len(self.here) - NAMED} more" if len(self.here) > NAMED else ""
        here = f"{names}{more}" if names else "none in this namespace"
        others = f", {self.elsewhere} in other namespaces" if self.elsewhere else ""
        place = f"number {self.place} in the queue for one of the Jobs that may run, {cap}"
        return f"{place}; now: {here}{others}"


Rank = tuple[int, float]
"""When a namespace was served last: never, at a time, or by this very reckoning, in its order."""


def in_turn(line: Line) -> tuple[Wish, ...]:
    """All that wait, in the order in which they get the next slots while nothing else changes.

    The namespace with the fewest slots comes first, of several the one that was served longest ago (never
    counts as longest), then the one whose first wish is oldest; inside a namespace the oldest wish. Whoever
    starts the first finds the others in the same order afterwards.
    """
    holding = {(slot.namespace, slot.artifact) for slot in line.taken}
    queues: dict[str, list[Wish]] = defaultdict(list)
    for wish in sorted(line.waiting, key=lambda one: (one.since, one.artifact), reverse=True):
        if (wish.namespace, wish.artifact) not in holding:
            queues[wish.namespace].append(wish)
    counts = Counter(slot.namespace for slot in line.taken)
    heads: list[tuple[int, Rank, datetime, str]] = []
    for name, queue in queues.items():
        at = line.served.get(name)
        rank = (0, 0.0) if at is None else (1, at.timestamp())
        heads.append((counts[name], rank, queue[-1].since, name))
    heapq.heapify(heads)
    order: list[Wish] = []
    while heads:
        count, _, _, name = heapq.heappop(heads)
        queue = queues[name]
        order.append(queue.pop())
        if queue:
            heapq.heappush(heads, (count + 1, (2, float(len(order))), queue[-1].since, name))
    return tuple(order)


def turn(line: Line, order: Sequence[Wish], wish: Wish) -> Turn:
    """The turn of one artifact.

    One that has a slot already, whose Job is replaced by another, keeps it.

    Args:
        line: what the order rests on.
        order: ``in_turn(line)``.
        wish: of the artifact, one of those that wait unless it has a slot.
    """
    mine = (wish.namespace, wish.artifact)
    here = tuple(sorted(slot.job for slot in line.taken if slot.namespace == wish.namespace))
    answer = Turn(0, line.limit, here, len(line.taken) - len(here))
    if mine in {(slot.namespace, slot.artifact) for slot in line.taken}:
        return answer
    return replace(answer, place=max(0, order.index(wish) + 1 - line.free))
