"""The queue of Jobs: never over the cap, never idle, fair between namespaces, nobody starves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from slipway.plan.job_queue import NAMED, SHOWN, Line, Slot, Turn, Wish, in_turn, turn

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMESPACES = ("a", "b", "c")


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def slot(namespace: str, artifact: str) -> Slot:
    return Slot(namespace, artifact, f"{artifact}-fetch-1")


def wish(namespace: str, artifact: str, since: float = 0) -> Wish:
    return Wish(namespace, artifact, at(since))


def started(line: Line, one: Wish, now: datetime) -> Line:
    """The line after one of those that wait got a slot."""
    return replace(
        line,
        taken=(*line.taken, slot(one.namespace, one.artifact)),
        waiting=tuple(other for other in line.waiting if other != one),
        served={**line.served, one.namespace: now},
    )


@st.composite
def lines(draw: st.DrawFn) -> Line:
    names = draw(st.lists(st.tuples(st.sampled_from(NAMESPACES), st.integers(0, 9)), unique=True))
    split = draw(st.integers(0, len(names)))
    ages = st.integers(-1000, -1)
    return Line(
        limit=draw(st.integers(1, 6)),
        taken=tuple(slot(namespace, f"m{number}") for namespace, number in names[:split]),
        waiting=tuple(wish(namespace, f"m{number}", draw(ages)) for namespace, number in names[split:]),
        served={name: at(draw(ages)) for name in draw(st.sets(st.sampled_from(NAMESPACES)))},
    )


def may_start(line: Line) -> set[Wish]:
    """All that are told to start, each asked as if it were alone."""
    order = in_turn(line)
    return {one for one in line.waiting if turn(line, order, one).place == 0}


@given(lines())
def test_as_many_start_as_there_are_slots_and_never_more(line: Line) -> None:
    assert len(may_start(line)) == min(line.free, len(line.waiting))
    assert len(line.taken) + len(may_start(line)) <= max(line.limit, len(line.taken))


@given(lines())
def test_everybody_has_a_place_of_its_own(line: Line) -> None:
    order = in_turn(line)
    assert set(order) == set(line.waiting)
    waits = [turn(line, order, one).place for one in order if turn(line, order, one).place]
    assert waits == list(range(1, len(line.waiting) - min(line.free, len(line.waiting)) + 1))


@given(lines(), st.randoms())
def test_the_order_rests_on_nothing_but_what_is_seen(line: Line, random: object) -> None:
    mixed = list(line.waiting)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    taken = tuple(reversed(line.taken))
    assert in_turn(replace(line, waiting=tuple(mixed), taken=taken)) == in_turn(line)


@given(lines())
def test_the_others_keep_their_order_when_the_first_starts(line: Line) -> None:
    order = in_turn(line)
    for number, one in enumerate(order):
        assert in_turn(line) == order[number:]
        line = started(line, one, at(number + 1))


@given(lines())
def test_inside_a_namespace_the_oldest_is_first(line: Line) -> None:
    order = in_turn(line)
    for name in NAMESPACES:
        ages = [one.since for one in order if one.namespace == name]
        assert ages == sorted(ages)


@given(lines())
def test_the_next_is_of_a_namespace_with_the_fewest_slots(line: Line) -> None:
    order = in_turn(line)
    if order:
        counts = Counter(one.namespace for one in line.taken)
        assert counts[order[0].namespace] == min(counts[one.namespace] for one in line.waiting)


@given(lines(), st.data())
def test_nobody_starves_whatever_ends_fails_and_comes(line: Line, data: st.DataObject) -> None:
    """One waits while slots end in any order; what ends comes again as a failed try or as something new."""
    if not line.waiting:
        return
    watched = data.draw(st.sampled_from(line.waiting))
    turns = 0
    while watched in line.waiting:
        turns += 1
        assert turns < 200, "it waits for ever"
        for one in in_turn(line)[: line.free]:
            line = started(line, one, at(turns))
        gone = data.draw(st.sampled_from(line.taken))
        back = Wish(gone.namespace, gone.artifact, at(turns))
        left = tuple(one for one in line.taken if one != gone)
        line = replace(line, taken=left, waiting=(*line.waiting, back))


def test_namespaces_take_turns_though_one_has_many_old_wishes() -> None:
    many = tuple(wish("a", f"m{number}", number) for number in range(5))
    line = Line(1, (), (*many, wish("b", "late", 500), wish("b", "later", 501)))
    found = []
    for number in range(6):
        (one,) = in_turn(line)[:1]
        found.append(one.namespace)
        line = replace(started(line, one, at(1000 + number)), taken=())
    assert "".join(found) == "ababaa"


def test_a_failed_try_goes_behind_those_who_came_meanwhile() -> None:
    line = Line(1, (), (wish("a", "fails", 50), wish("a", "young", 40)))
    assert [one.artifact for one in in_turn(line)] == ["young", "fails"]


def test_one_that_has_a_slot_keeps_it_for_the_job_that_replaces_its_own() -> None:
    line = Line(1, (slot("a", "mine"),), (wish("a", "other"),))
    assert turn(line, in_turn(line), wish("a", "mine")).place == 0
    assert turn(line, in_turn(line), wish("a", "other")).place == 1


def test_more_run_than_may_after_the_cap_was_lowered() -> None:
    line = Line(1, (slot("a", "x"), slot("b", "y")), (wish("c", "waits"),))
    assert (line.free, turn(line, in_turn(line), line.waiting[0]).place) == (0, 1)


def test_what_waits_is_told_its_place_and_no_names_of_other_namespaces() -> None:
    taken = (slot("a", "x"), slot("b", "secret"), slot("b", "other"))
    line = Line(3, taken, (wish("a", "one"), wish("a", "two", 1)))
    text = turn(line, in_turn(line), line.waiting[1]).text
    assert text == (
        "number 2 in the queue for one of the Jobs that may run, 3 at once (jobs.maxConcurrent of the chart)"
        "; now: x-fetch-1, 2 in other namespaces"
    )
    alone = Line(1, (slot("b", "secret"),), (wish("a", "one"),))
    assert turn(alone, in_turn(alone), alone.waiting[0]).text.endswith(
        "now: none in this namespace, 1 in other namespaces"
    )


def test_a_long_queue_is_not_counted_and_long_lists_are_cut() -> None:
    here = tuple(f"j{number}" for number in range(NAMED + 2))
    assert Turn(1, 5, here).text.endswith("j2 and 2 more")
    assert (Turn(SHOWN, 5, here).shown, Turn(SHOWN + 1, 5, here).shown) == (True, False)
    far, farther = (Turn(SHOWN + more, 5, here[more:]).text for more in (1, 2))
    assert far == farther  # nothing to write when something before it moves
