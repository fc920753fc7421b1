"""How many replicas each pool of one model gets: the cheapest first, what has no room to the next, and back.

Pure; called by the pass over a ModelDeployment with pools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

PENDING_SECONDS: Final = 120.0
"""A pod without a node for so long has no room: autoscalers of nodes say so in about that. Judged."""
RETRY_FIRST: Final = 300.0
RETRY_LIMIT: Final = 3600.0
"""Seconds until a full pool is tried again, doubled with each time that it still was full. A try costs nobody
anything: what serves elsewhere stays until the pool answers."""


@dataclass(frozen=True)
class Memory:
    """What is remembered of a pool between looks.

    Attributes:
        full_since: None while it has room, as far as is known.
        retry_at: when a full one is tried again.
        failures: how often in a row it was found full.
        held: replicas that had a node when it was found full, or since.
        nodes: size of its nodes then.
        why: it was full, in the scheduler's or the planner's words.
    """

    full_since: datetime | None = None
    retry_at: datetime | None = None
    failures: int = 0
    held: int = 0
    nodes: int = 0
    why: str = ""


@dataclass(frozen=True)
class Pool:
    """One pool as it is seen.

    Attributes:
        least: replicas that it keeps in any case.
        most: replicas that it may have; None for no limit.
        given: replicas that it has been told to have.
        ready: replicas that answer.
        placed: replicas whose pods all have a node, or are not known to have none.
        stuck: why it has no room now: a pod of it without a node for ``PENDING_SECONDS``, or a plan that
            fits none; empty for neither.
        nodes: size of what its selector admits: nodes and devices, which come after their node.
        price: of a token; None when it is not known.
    """

    name: str
    least: int = 0
    most: int | None = None
    given: int = 0
    ready: int = 0
    placed: int = 0
    stuck: str = ""
    nodes: int = 0
    price: float | None = None
    memory: Memory = Memory()

    @property
    def full(self) -> bool:
        """Nothing more is given to it."""
        return self.memory.full_since is not None

    def capped(self, count: int) -> int:
        """A wish within its own limits."""
        return max(self.least, count if self.most is None else min(count, self.most))

    def counted(self, count: int) -> int:
        """How many of a wish can be relied on: of a full pool those that have a node."""
        return min(count, self.placed if self.stuck else self.memory.held) if self.full else count

    @property
    def answering(self) -> int:
        """Replicas that answer, without those that an update has on top."""
        return min(self.ready, self.given)


def in_order(pools: Sequence[Pool]) -> list[Pool]:
    """As they are filled: by the price of a token where every pool's is known, else as they are written."""
    if any(one.price is None for one in pools):
        return list(pools)
    return sorted(pools, key=lambda one: one.price or 0.0)


def remembered(pool: Pool, now: datetime) -> Pool:
    """The pool with what this look adds to its memory: found full, due for another try, or well again."""
    old = pool.memory
    more, due = pool.nodes > old.nodes, old.retry_at is not None and now >= old.retry_at
    if pool.full and not pool.stuck and (more or due):
        return replace(pool, memory=replace(old, full_since=None, retry_at=None, nodes=pool.nodes))
    if pool.full and not due:
        # A node comes before its devices: more of it is looked at again soon, and is no failure.
        soon = now + timedelta(seconds=RETRY_FIRST)
        kept = replace(old, nodes=pool.nodes, retry_at=min(soon, old.retry_at or soon)) if more else old
        return replace(pool, memory=replace(kept, held=max(kept.held, min(pool.placed, pool.answering))))
    if pool.stuck:
        wait = min(RETRY_LIMIT, RETRY_FIRST * 2.0 ** min(old.failures, 16))
        found = Memory(
            full_since=old.full_since or now,
            retry_at=now + timedelta(seconds=wait),
            failures=old.failures + 1,
            held=pool.placed,
            nodes=pool.nodes,
            why=pool.stuck,
        )
        return replace(pool, memory=found)
    recovered = old.failures and pool.answering > old.held
    return replace(pool, memory=Memory()) if recovered else pool


def deal(pools: Sequence[Pool], wished: int) -> dict[str, int]:
    """Replicas for each pool, by name.

    What answers is never given up for what does not yet: a pool later in order keeps its replicas until those
    before it answer. Where every pool is full, the rest waits in the first that may have it, so that whoever
    adds nodes sees that pods want them.

    Args:
        pools: in the order in which they are filled, as ``remembered``.
        wished: replicas in all.
    """
    targets: dict[str, int] = {}
    left = wished
    for one in pools:
        targets[one.name] = one.capped(min(left, one.memory.held) if one.full else left)
        left = max(0, left - one.counted(targets[one.name]))
    for one in pools:
        counted = one.counted(targets[one.name])
        targets[one.name] = max(targets[one.name], one.capped(counted + left) if left else 0)
        left = max(0, left - (targets[one.name] - counted))
    return _kept(pools, targets, wished)


def _kept(pools: Sequence[Pool], targets: dict[str, int], wished: int) -> dict[str, int]:
    """The targets, with what has to stay until others answer: what answers, else what is on its way.

    A replica may miss a probe: it was given, and stays as long as it is needed. What a full pool was given
    and has no node is not.
    """
    lacking = max(0, wished - sum(min(one.answering, targets[one.name]) for one in pools))
    kept = dict(targets)
    having = [(one, one.answering) for one in pools] + [(one, one.given) for one in pools if not one.full]
    for one, count in having:
        stays = min(max(0, count - kept[one.name]), lacking)
        kept[one.name] += stays
        lacking -= stays
    return kept
