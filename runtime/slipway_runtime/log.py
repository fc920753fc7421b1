"""Structured logs of a stage: one JSON object a line on stderr, secrets blacked out. For stage.py."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, TextIO
from urllib.parse import quote

LOGGER = logging.getLogger("slipway_runtime")


SHORTEST = 4
"""Characters of a secret that is looked for: shorter ones are in half of all words, and guessed at once."""
DIGEST = r"(?:sha256:)?(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40})(?![0-9a-f])"
"""What is compared by others and must stay whole; only a secret of that very form hides one."""
DIGEST_LENGTH = 40
OURS = frozenset({"stage", "reason"})
"""Keys of a result whose values are words of the contract, which no secret is in."""
USER = re.compile(r"^(\w[\w+.-]*://)?+(?:[^@]*:[^@]*|[^@/?#]*)@(?!sha256:)")
QUERY = re.compile(r"\?[^#]*")


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text with every secret replaced; a library's error may quote a header.

    Found are those of ``SHORTEST`` characters and more, in URLs and quoted strings as well.
    """
    known = sorted({form for one in secrets for form in _forms(one)}, key=len, reverse=True)
    if not known:
        return text
    long = [re.escape(one) for one in known if len(one) >= DIGEST_LENGTH]
    short = [re.escape(one) for one in known if len(one) < DIGEST_LENGTH]

    def replaced(match: re.Match[str]) -> str:
        digest = match["digest"]
        return digest if digest and digest.removeprefix("sha256:") not in known else "[redacted]"

    return re.sub("|".join([*long, f"(?P<digest>{DIGEST})", *short]), replaced, text)


def redact_values(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return a result with every secret in its strings replaced: no key, no number and no digest changes."""
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return {key: one if key in OURS else redact_values(one, secrets) for key, one in value.items()}
    return [redact_values(one, secrets) for one in value] if isinstance(value, list | tuple) else value


def plain(uri: str) -> str:
    """Return an address without user, password and query, which may be a signature."""
    return QUERY.sub("?…", USER.sub(r"\1", uri), count=1)


def _forms(secret: str) -> set[str]:
    """Return how a secret may stand in a text: as it is, in a URL, in JSON and in Python's quotes."""
    if len(secret) < SHORTEST:
        return set()
    return {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}


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
            "message": redact(record.getMessage(), self.secrets),
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info), self.secrets)
        return json.dumps(line, ensure_ascii=False)


def configure(stage: str, secrets: tuple[str, ...], stream: TextIO | None = None) -> None:
    """Send all logs of this process to the stream (stderr); libraries speak from WARNING on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(stage, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.INFO)
