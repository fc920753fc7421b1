"""The operator's log lines: one JSON object each, whatever is logged, and no credential in its fields."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.logging_ import JsonFormatter, TextFormatter

SECRET = "hf_Q7rTz4"  # noqa: S105 - of no account


def record(*, failed: bool = False, **extra: Any) -> logging.LogRecord:
    """A record as a logger makes it."""
    found = sys.exc_info() if failed else None
    logger = logging.getLogger("slipway.apply")
    made = logger.makeRecord(logger.name, logging.INFO, "apply.py", 1, "created", (), found, extra=extra)
    made.created = datetime(2026, 11, 21, 12, 30, tzinfo=UTC).timestamp()
    return made


def test_a_line_is_one_json_object_with_the_same_keys() -> None:
    line = JsonFormatter().format(record(child="Job/n/qwen", why="it was not\nthere", seconds=0.25))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-11-21T12:30:00.000+00:00",
        "level": "info",
        "logger": "slipway.apply",
        "message": "created",
        "child": "Job/n/qwen",
        "why": "it was not\nthere",
        "seconds": 0.25,
    }


def test_what_json_does_not_know_is_written_as_text() -> None:
    fields = json.loads(JsonFormatter().format(record(error=ValueError("no"), names={"a"})))
    assert (fields["error"], fields["names"]) == ("no", "{'a'}")


def test_an_exception_is_a_field_of_the_one_line() -> None:
    try:
        int("broken")
    except ValueError:
        line = JsonFormatter().format(record(failed=True))
    assert "\n" not in line
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


@pytest.mark.parametrize("field", ["authorization", "token", "password", "secret", "Authorization", "TOKEN"])
@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_a_credential_given_as_a_field_is_masked(formatter: logging.Formatter, field: str) -> None:
    line = formatter.format(record(**{field: SECRET, "key": "ModelDeployment/n/qwen"}))
    assert SECRET not in line
    assert "***" in line
    assert "ModelDeployment/n/qwen" in line
