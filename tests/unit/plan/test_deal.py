"""Replicas among pools: filled in order, spilled, taken back, and never fewer that answer than could."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.plan.deal import RETRY_FIRST, RETRY_LIMIT, Memory, Pool, deal, in_order, remembered

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FULL = Memory(NOW, NOW + timedelta(minutes=5), 1, 1, 2)


def full(name: str, held: int = 0, *, stuck: str = "", **seen: Any) -> Pool:
    """A pool without room, whose ``held`` replicas have nodes."""
    counts = {"given": held, "ready": held, "placed": held, **seen}
    return Pool(name, stuck=stuck, memory=replace(FULL, held=held), **counts)


def serving(name: str, count: int, **seen: Any) -> Pool:
    """A pool whose replicas all answer."""
    return Pool(name, given=count, ready=count, placed=count, **seen)


@pytest.mark.parametrize(
    ("pools", "wished", "expected"),
    [
        pytest.param([Pool("a"), Pool("b")], 3, [3, 0], id="all to the first"),
        pytest.param([Pool("a", most=2), Pool("b")], 3, [2, 1], id="its own limit"),
        pytest.param([Pool("a"), Pool("b", least=1)], 3, [3, 1], id="a pool that keeps one"),
        pytest.param([full("a", 1, given=2, stuck="x"), Pool("b")], 3, [1, 2], id="spills"),
        pytest.param([full("a", 3, ready=1), serving("b", 1)], 4, [3, 1], id="keeps its part in an update"),
        pytest.param(
            [full("a", 3, placed=2, ready=2, stuck="x"), serving("b", 1)], 4, [3, 2], id="lost a node"
        ),
        pytest.param([full("a"), full("b")], 2, [2, 0], id="all full: waits"),
        pytest.param([full("a", most=1), full("b")], 3, [1, 2], id="within limits"),
        pytest.param(
            [full("a", least=1, stuck="x"), Pool("b")], 2, [1, 2], id="what it keeps does not answer"
        ),
        pytest.param([Pool("a", most=1), Pool("b", most=1)], 5, [1, 1], id="more than there may be"),
        pytest.param([Pool("a", given=3, ready=1), serving("b", 2)], 3, [3, 2], id="stays until it answers"),
        pytest.param([Pool("a", given=3, ready=2), serving("b", 2)], 3, [3, 1], id="goes one by one"),
        pytest.param([serving("a", 3), serving("b", 2)], 3, [3, 0], id="back"),
        pytest.param(
            [Pool("a", given=2, ready=1), Pool("b", given=1)], 2, [2, 1], id="a probe missed in a try"
        ),
        pytest.param(
            [Pool("a", most=2, given=2, ready=3), Pool("b", given=1)], 3, [2, 1], id="an update on top"
        ),
        pytest.param([serving("a", 3)], 0, [0], id="none"),
        pytest.param([serving("a", 1), serving("b", 2)], 1, [1, 0], id="fewer wished"),
        pytest.param(
            [Pool("a"), Pool("b", given=3), serving("c", 1)], 1, [1, 0, 1], id="rather what answers"
        ),
    ],
)
def test_deal(pools: list[Pool], wished: int, expected: list[int]) -> None:
    assert list(deal(pools, wished).values()) == expected


def test_the_cheapest_token_comes_first_where_all_have_a_price() -> None:
    dear, cheap = Pool("dear", price=2.0), Pool("cheap", price=1.0)
    assert [one.name for one in in_order([dear, cheap])] == ["cheap", "dear"]
    assert [one.name for one in in_order([dear, cheap, Pool("unknown")])] == ["dear", "cheap", "unknown"]


def test_a_pool_without_room_is_left_alone_for_a_time_that_doubles() -> None:
    pool, now, waits = Pool("a", given=1, stuck="no node"), NOW, []
    for _ in range(6):
        pool = remembered(pool, now)
        assert pool.full
        assert pool.memory.retry_at is not None
        waits.append((pool.memory.retry_at - now).total_seconds())
        now = pool.memory.retry_at
        pool = remembered(replace(pool, stuck=""), now)
        assert not pool.full
        pool = replace(pool, stuck="no node")
    assert waits[0] == RETRY_FIRST
    assert waits == [min(RETRY_LIMIT, RETRY_FIRST * 2**number) for number in range(6)]


def test_nothing_changes_while_it_waits_and_more_nodes_end_the_wait() -> None:
    pool, soon = full("a", 1, nodes=2), NOW + timedelta(minutes=1)
    assert remembered(pool, soon) == pool
    assert remembered(replace(pool, stuck="no node"), soon).memory == pool.memory
    assert not remembered(replace(pool, nodes=3), soon).full


def test_a_node_that_comes_before_its_devices_is_no_failure_and_tried_again_soon() -> None:
    late = replace(FULL, failures=4, retry_at=NOW + timedelta(hours=1))
    found = remembered(Pool("a", stuck="no node", nodes=3, memory=late), NOW)
    assert found.memory.retry_at == NOW + timedelta(seconds=RETRY_FIRST)
    assert (found.memory.failures, found.memory.nodes) == (4, 3)


def test_a_replica_that_gets_its_node_after_all_is_kept() -> None:
    assert remembered(full("a", 1, given=2, ready=2, placed=2, nodes=2), NOW).memory.held == 2


def test_a_replica_more_than_before_forgets_the_failures() -> None:
    tried = Pool("a", given=2, ready=1, memory=replace(FULL, full_since=None, retry_at=None))
    assert remembered(tried, NOW).memory.failures == 1
    assert remembered(replace(tried, ready=2), NOW).memory == Memory()


def some_pool(seen: tuple[int, ...], *, is_full: bool, stuck: bool) -> Pool:
    least, more, given_, ready, placed = seen
    memory = replace(FULL, held=min(given_, placed)) if is_full else Memory()
    most = None if more > 4 else least + more
    return Pool("", least, most, given_, min(given_, ready), min(given_, placed), "x" * stuck, memory=memory)


counts = st.integers(0, 6)
pools = st.lists(
    st.builds(
        some_pool, st.tuples(st.integers(0, 2), *[counts] * 4), is_full=st.booleans(), stuck=st.booleans()
    ),
    min_size=1,
    max_size=5,
)


@given(pools, counts)
def test_limits_hold_and_what_answers_stays_as_long_as_it_is_needed(found: list[Pool], wished: int) -> None:
    named = [replace(one, name=str(number)) for number, one in enumerate(found)]
    dealt = deal(named, wished)
    for one in named:
        assert dealt[one.name] >= one.least
        # Beyond its limit only what it was given before, until others answer.
        assert one.most is None or dealt[one.name] <= max(one.given, one.most)
    answers = sum(min(one.ready, dealt[one.name]) for one in named)
    assert answers >= min(wished, sum(one.ready for one in named))
    if all(one.most is None for one in named):
        assert sum(dealt.values()) >= wished


@given(pools, counts)
def test_it_settles_when_what_is_given_answers(found: list[Pool], wished: int) -> None:
    named = [replace(one, name=str(number), stuck="") for number, one in enumerate(found)]
    dealt: dict[str, int] = {}
    for _ in range(len(named) + 2):
        dealt = deal(named, wished)
        named = [answer(one, dealt[one.name]) for one in named]
    assert deal(named, wished) == dealt
    if any(not one.full for one in named) and all(one.most is None and not one.least for one in named):
        assert sum(dealt.values()) == wished


def answer(pool: Pool, count: int) -> Pool:
    """What was given answers; of a full pool what has a node."""
    there = min(count, pool.memory.held) if pool.full else count
    return replace(pool, given=count, ready=there, placed=there)
