"""Progress is frequent enough for people and rare enough for the operator."""

from __future__ import annotations

import json
import logging
import time
from io import StringIO

import pytest

from slipway_runtime.contract import PROGRESS_PREFIX
from slipway_runtime.progress import Progress, describe, format_bytes, format_seconds


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(out: StringIO) -> list[dict[str, object]]:
    return [json.loads(line.removeprefix(PROGRESS_PREFIX)) for line in out.getvalue().splitlines()]


def test_at_most_one_line_a_second_and_always_the_last() -> None:
    out, clock = StringIO(), Clock()
    progress = Progress("fetch", out, clock)
    for done in range(11):
        progress.report(done, 10, in_bytes=True)
        clock.now += 0.25
    assert [line["percent"] for line in lines(out)] == [0, 40, 80, 100]
    assert lines(out)[1] == {"stage": "fetch", "percent": 40, "bytesDone": 4, "bytesTotal": 10}


def test_percent_never_goes_back_nor_beyond_100() -> None:
    out, clock = StringIO(), Clock()
    progress = Progress("convert", out, clock)
    for done in (5, 3, 12, 1):
        progress.report(done, 10)
        clock.now += 2
    assert [line["percent"] for line in lines(out)] == [50, 50, 100, 100]
    assert "bytesDone" not in lines(out)[0]


def test_an_unknown_total_is_no_progress() -> None:
    out = StringIO()
    Progress("convert", out, Clock()).report(0, 0)
    assert lines(out)[0]["percent"] == 0


def test_people_read_rate_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    progress = Progress("fetch", StringIO(), clock)
    with caplog.at_level(logging.INFO, "slipway_runtime"):
        progress.report(0, 100 << 20, in_bytes=True)
        clock.now += 10
        progress.report(20 << 20, 100 << 20, in_bytes=True)
    assert caplog.messages == [
        "fetch: 0 % (0 B of 100.0 MiB)",
        "fetch: 20 % (20.0 MiB of 100.0 MiB), 2.0 MiB/s, about 40s left",
    ]


def test_sampling_reports_the_end_even_of_a_short_body() -> None:
    out = StringIO()
    progress = Progress("fetch", out)
    with progress.sampling(lambda: 7, 7, interval=60):
        pass
    assert lines(out)[-1]["percent"] == 100


def test_sampling_says_nothing_of_success_after_an_error() -> None:
    out = StringIO()
    done = 3

    def cut() -> None:
        nonlocal done
        with Progress("fetch", out).sampling(lambda: done, 7, interval=60):
            time.sleep(0.1)
            done = 7
            raise ValueError("cut")

    with pytest.raises(ValueError, match="cut"):
        cut()
    assert [line["percent"] for line in lines(out)] == [42]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.6, "1m00s"), (185, "3m05s"), (3720, "1h02m"), (7199.9, "2h00m")]
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_format_bytes() -> None:
    assert [format_bytes(count) for count in (0, 1023, 1024, 3 << 29)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 GiB",
    ]


def test_describe_counts_things_without_units() -> None:
    assert describe("quantize", (12, 272), 4, 0, in_bytes=False) == "quantize: 4 % (12 of 272)"
