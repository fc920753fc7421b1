"""Conditions: transition times, generations, events only for what changed and matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from slipway.status import Condition, compact, merge_conditions, micro_timestamp, notes, timestamp

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_transition_time_moves_with_the_status_only() -> None:
    first = merge_conditions([], [Condition("Ready", "False", "Building", "x")], 1, NOW)
    later = NOW + timedelta(minutes=5)
    same = merge_conditions(first, [Condition("Ready", "False", "Retrying", "y")], 2, later)
    assert same[0]["lastTransitionTime"] == timestamp(NOW)
    assert (same[0]["reason"], same[0]["observedGeneration"]) == ("Retrying", 2)
    changed = merge_conditions(same, [Condition("Ready", "True", "Serving", "z")], 2, later)
    assert changed[0]["lastTransitionTime"] == timestamp(later)


def test_events_tell_news_and_no_more() -> None:
    building = Condition("Ready", "False", "Building", "x")
    broken = Condition("Ready", "False", "PickleOnly", "only pickle")
    good = Condition("Ready", "True", "Serving", "answers")
    assert notes([], [building]) == []
    old = merge_conditions([], [building], 1, NOW)
    assert [(note.kind, note.reason) for note in notes(old, [broken])] == [("Warning", "PickleOnly")]
    assert [(note.kind, note.reason) for note in notes(old, [good])] == [("Normal", "Serving")]
    assert notes(merge_conditions(old, [good], 1, NOW), [good]) == []


def test_a_failed_step_is_told_once_by_ready() -> None:
    failed = [Condition(kind, "False", "PickleOnly", "x") for kind in ("SourceResolved", "Ready")]
    assert len(notes([], failed)) == 1


def test_none_never_reaches_the_api_server() -> None:
    assert compact({"a": None, "b": [{"c": None, "d": 0}], "e": False}) == {"b": [{"d": 0}], "e": False}


def test_times_are_utc() -> None:
    assert timestamp(NOW) == "2026-11-21T12:00:00Z"
    assert micro_timestamp(NOW) == "2026-11-21T12:00:00.000000Z"
