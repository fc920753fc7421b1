"""Which revision counts and which go."""

from __future__ import annotations

from slipway.plan.revision import Revision, current, next_number, outdated

OLD = [Revision(f"r{n}", n, f"h{n}") for n in range(1, 8)]


def test_the_newest_of_this_spec_counts() -> None:
    twice = [*OLD, Revision("again", 9, "h3")]
    assert current(twice, "h3") == twice[-1]
    assert current(OLD, "none") is None
    assert next_number(OLD) == 8
    assert next_number([]) == 1


def test_nothing_goes_before_the_current_spec_is_planned() -> None:
    assert outdated(OLD, "new", "r7") == ()


def test_five_are_kept_and_what_serves_always() -> None:
    assert outdated(OLD, "h7", "r7") == ("r1", "r2")
    assert outdated(OLD, "h7", "r1") == ("r2",)
