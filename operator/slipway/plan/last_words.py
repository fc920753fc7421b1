"""The line of a log's end that says why a program died; pure, called by advice."""

from __future__ import annotations

import re
from typing import Final

ERROR: Final = re.compile(
    r"\b[A-Za-z_.]*(Error|Exception|Interrupt|Fault)\b\s*:|\b(error|fatal|panic|critical)\b\s*:|"
    r"\b(CUDA|HIP|out of memory|Illegal instruction|Segmentation fault)\b",
    re.IGNORECASE,
)
"""How Python, C++, Go and Rust programs name what they die of."""
EMPTY: Final = re.compile(
    r"Engine core initialization failed|See root cause above|Failed core proc|EngineDeadError|"
    r"server terminated|SystemExit|shut(ting)? down|resource_tracker|Traceback",
    re.IGNORECASE,
)
"""Errors that only say that there was another, earlier one."""
PREFIX: Final = re.compile(
    r"^(\s*\([A-Za-z_]+[^)]*\)\s*)?(\s*(ERROR|CRITICAL|FATAL|E)\b)?[\s\d:.,\-/TZ]*(\[[^\]]*\]\s*:?\s*)*"
    r"((ERROR|CRITICAL|FATAL)\s*:?\s+)?"
)
"""Process, level, time and place, which loggers write before a message."""
LONGEST: Final = 500


def last_error(log: str) -> str:
    """The last line that names an error of its own, without its logger's prefix; empty when there is none."""
    for line in reversed(log.splitlines()):
        if ERROR.search(line) and not EMPTY.search(line):
            return PREFIX.sub("", line, count=1).strip()[:LONGEST]
    return ""
