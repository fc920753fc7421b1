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


def test_a_new_wish_plans_anew_and_one_that_was_answered_or_taken_back_does_not() -> None:
    plain = Revision("plain", 1, "h")
    assert current([plain], "h", "1") is None
    first = Revision("first", 2, "h", "1")
    assert current([plain, first], "h", "1") is first
    assert current([plain, first], "h", "2") is None
    second = Revision("second", 3, "h", "2")
    for asked in ("", "1", "2"):  # taken back, set back to an older value, as it is
        assert current([plain, first, second], "h", asked) is second
    # Another spec: what was wished for the old one is no answer.
    assert current([plain, first], "other", "1") is None


def test_five_are_kept_and_what_serves_always() -> None:
    assert outdated(OLD, "r7", "r7") == ("r1", "r2")
    assert outdated(OLD, "r7", "r1") == ("r2",)
    assert outdated(OLD[:5], "r5", "r5") == ()
