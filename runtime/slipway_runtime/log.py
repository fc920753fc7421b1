"""Structured logs of a stage: one JSON object a line on stderr, secrets blacked out. For stage.py."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

LOGGER = logging.getLogger("slipway_runtime")


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text with every secret replaced; a library's error may quote a header."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


class JsonFormatter(logging.Formatter):
    """Formats a record as ``{"time", "level", "stage", "message"}`` plus the traceback if there is one."""

    def __init__(self, stage: str, secrets: tuple[str, ...]) -> None:
        super().__init__()
        self.stage = stage
        self.secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "stage": self.stage,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, ensure_ascii=False), self.secrets)


def configure(stage: str, secrets: tuple[str, ...], stream: TextIO | None = None) -> None:
    """Send all logs of this process to the stream (stderr); libraries speak from WARNING on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(stage, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.INFO)
