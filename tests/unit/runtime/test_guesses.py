"""How many guesses were taken: the difference of two looks at the engine's counters."""

from __future__ import annotations

import pytest

from slipway_runtime.benchmark.guesses import acceptance, counted, read_counters, total

TEXT = """\
# HELP vllm:accepted_total Number of accepted tokens.
vllm:accepted_total{engine="0",model_name="a b"} 30.0
vllm:accepted_total{engine="1",model_name="a b"} 12.0
vllm:accepted_total_created{engine="0"} 1.7e9
vllm:drafted_total 60
vllm:broken_total NaN
"""


def test_counters_are_summed_over_their_labels() -> None:
    assert total(TEXT, "vllm:accepted_total") == 42
    assert total(TEXT, "vllm:drafted_total") == 60
    assert total(TEXT, "vllm:broken_total") == total(TEXT, "vllm:absent_total") == 0


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        ((0, 0), (31, 50), "62%"),
        ((10, 20), (10, 30), "0%"),
        ((10, 20), (10, 20), ""),  # nothing was guessed
        ((30, 50), (3, 5), ""),  # another pod answered
        (None, (1, 2), ""),
        ((0, 0), None, ""),
        ((0, 9), (9, 10), ""),
    ],
)
def test_the_rate_is_of_what_happened_in_between(
    before: tuple[float, float] | None, after: tuple[float, float] | None, rate: str
) -> None:
    assert acceptance(before, after) == rate


def test_nothing_is_asked_where_nothing_is_guessed() -> None:
    assert read_counters({}) is None
    assert read_counters({"SLIPWAY_GUESSES": "a:x b:y"}) == ("a:x", "b:y")


def test_without_metrics_nothing_is_counted_and_an_absent_counter_is_zero() -> None:
    assert counted(None, ("vllm:accepted_total", "vllm:drafted_total")) is None
    assert counted("", ("vllm:accepted_total", "vllm:drafted_total")) == (0, 0)
    assert counted(TEXT, ("vllm:absent_total", "vllm:drafted_total")) == (0, 60)
