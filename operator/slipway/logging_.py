"""Structured logs: one JSON object a line, or text for a person; set up once by ``cli.run``."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SECRETS: Final = ("authorization", "token", "password", "secret")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    found = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
    return {key: "***" if key.lower() in _SECRETS else value for key, value in found.items()}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; what was given as ``extra`` becomes fields, credentials are masked."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


class TextFormatter(logging.Formatter):
    """The same for a terminal: ``time level message key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {key}={value}" for key, value in _extra(record).items())
        error = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return f"{time} {record.levelname:7} {record.getMessage()}{fields}{error}"


def setup(level: str, form: str) -> None:
    """Log to stderr from ``level`` (debug, info, warning, error) on, as ``json`` or ``text``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It runs in a thread of ours on purpose and says so at every start.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
