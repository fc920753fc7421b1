"""Replicas among pools: filled in order, spilled, taken back, and never fewer that answer than could."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.plan.deal import RETRY_FIRST, RETRY_LIMIT, Memory, Pool, deal, in_order, remembered

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FULL = Memory(NOW, NOW + timedelta(minutes=5), 1, 1, 2)


@pytest.mark.parametrize(
    ("pools", "wished", "expected"),
    [
        pytest.param([Pool("a"), Pool("b")], 3, [3, 0], id="all to the first"),
        pytest.param([Pool("a", most=2), Pool("b")], 3, [2, 1], id="its own limit"),
        pytest.param([Pool("a"), Pool("b", least=1)], 3, [3, 1], id="a pool that keeps one"),
        pytest.param([Pool("a", given=2, ready=1, memory=FULL), Pool("b")], 3, [1, 2], id="spills"),
        pytest.param([Pool("a", memory=FULL), Pool("b", memory=FULL)], 2, [2, 0], id="all full: waits"),
        pytest.param([Pool("a", most=1, memory=FULL), Pool("b", memory=FULL)], 3, [1, 2], id="within limits"),
        pytest.param([Pool("a", most=1), Pool("b", most=1)], 5, [1, 1], id="more than there may be"),
        pytest.param(
            [Pool("a", ready=1), Pool("b", given=2, ready=2)], 3, [3, 2], id="stays until it answers"
        ),
        pytest.param([Pool("a", ready=2), Pool("b", given=2, ready=2)], 3, [3, 1], id="goes one by one"),
        pytest.param([Pool("a", ready=3), Pool("b", given=2, ready=2)], 3, [3, 0], id="back"),
        pytest.param([Pool("a", ready=3, given=3)], 0, [0], id="none"),
        pytest.param(
            [Pool("a", ready=1, given=3), Pool("b", ready=2, given=2)], 1, [1, 0], id="fewer wished"
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
    pool = Pool("a", ready=1, nodes=2, memory=FULL)
    assert remembered(pool, NOW + timedelta(minutes=1)) == pool
    assert remembered(replace(pool, stuck="no node"), NOW + timedelta(minutes=1)).memory == FULL
    assert not remembered(replace(pool, nodes=3), NOW + timedelta(minutes=1)).full


def test_a_replica_more_than_before_forgets_the_failures() -> None:
    tried = Pool("a", given=2, ready=1, memory=replace(FULL, full_since=None, retry_at=None))
    assert remembered(tried, NOW).memory.failures == 1
    assert remembered(replace(tried, ready=2), NOW).memory == Memory()


counts = st.integers(0, 6)
pools = st.lists(
    st.builds(
        lambda least, more, given, ready, full: Pool(
            "", least, None if more > 4 else least + more, given, min(given, ready),
            memory=FULL if full else Memory(),
        ),
        st.integers(0, 2), counts, counts, counts, st.booleans(),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@given(pools, counts)
def test_limits_hold_and_what_answers_stays_as_long_as_it_is_needed(found: list[Pool], wished: int) -> None:
    named = [replace(one, name=str(number)) for number, one in enumerate(found)]
    dealt = deal(named, wished)
    for one in named:
        assert dealt[one.name] >= one.least
        # Beyond its limit only what answers already, until others do.
        assert dealt[one.name] <= max(one.ready, one.least if one.most is None else one.most, wished)
    answers = sum(min(one.ready, dealt[one.name]) for one in named)
    assert answers >= min(wished, sum(one.ready for one in named))
    if all(one.most is None for one in named):
        assert sum(dealt.values()) >= wished


@given(pools, counts)
def test_it_settles_when_what_is_given_answers(found: list[Pool], wished: int) -> None:
    named = [replace(one, name=str(number)) for number, one in enumerate(found)]
    for _ in range(len(named) + 2):
        dealt = deal(named, wished)
        named = [
            replace(
                one,
                given=dealt[one.name],
                ready=min(dealt[one.name], one.ready) if one.full else dealt[one.name],
            )
            for one in named
        ]
    assert deal(named, wished) == dealt
    if any(not one.full for one in named) and all(one.most is None and not one.least for one in named):
        assert sum(dealt.values()) == wished
