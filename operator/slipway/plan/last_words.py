"""The line of a log that says why a program died; pure, called by advice and by who reads a crash's log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ERROR: Final = re.compile(
    r"\b[A-Za-z_.]*(Error|Exception|Interrupt|Fault)\b\s*:|\b(error|fatal|panic|critical)\b\s*:|"
    r"\b(CUDA|HIP|out of memory|Illegal instruction|Segmentation fault)\b",
    re.IGNORECASE,
)
"""How Python, C++, Go and Rust programs name what they die of."""
EMPTY: Final = re.compile(
    r"Engine core initialization failed|See root cause above|Failed core proc|EngineDeadError|"
    r"WorkerProc (initialization failed|failed to start)|EngineCore (failed to start|encountered)|"
    r"stack trace (\(above\) )?for (the )?root cause|Connection (closed|reset) by peer|"
    r"Broken pipe|"
    r"server terminated|SystemExit|shut(ting)? down|resource_tracker|Traceback",
    re.IGNORECASE,
)
"""Errors that only say that there was another, earlier one."""
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
PROCESS: Final = re.compile(r"^(?:\s*\(([A-Za-z_]\w*)[^)]*\))+ ?")
"""vLLM's mark of the process that writes, such as ``(EngineCore_DP0 pid=123)``; the last counts."""
LOGGER: Final = re.compile(r"^(ERROR|CRITICAL|FATAL) [\d:.,\-/ ]+\[[^\]]*\] ?")
"""vLLM's logger writes level, time and place before every line of a traceback."""
CALM: Final = re.compile(r"^(DEBUG|INFO|WARNING)\b")
"""A traceback that is logged so was dealt with."""
START: Final = "Traceback (most recent call last):"
CHAINED: Final = (
    "During handling of the above exception",
    "The above exception was the direct cause",
)
FRONT: Final = "APIServer"
"""vLLM's process that only hears of the others' ends."""
PREFIX: Final = re.compile(
    r"^(\s*\([A-Za-z_]+[^)]*\)\s*)*(\s*(ERROR|CRITICAL|FATAL|E)\b)?[\s\d:.,\-/TZ]*(\[[^\]]*\]\s*:?\s*)*"
    r"((ERROR|CRITICAL|FATAL)\s*:?\s+)?"
)
"""Process, level, time and place, which loggers write before a message."""
LONGEST: Final = 500


@dataclass
class _Trace:
    """A traceback that is being read.

    Attributes:
        process: whose it is, empty for a log without marks.
        ended: its exceptions so far; what is chained to one follows.
        open: its frames are being read.
    """

    process: str
    ended: list[str]
    open: bool = True


def last_error(log: str) -> str:
    """The line that names the root cause, without its logger's prefix; empty when none names an own error.

    Of processes that each end with a traceback (vLLM's workers, its engine core, its API server) it is the
    exception of the first that names one of its own; else the last line that names an error.

    Args:
        log: lines of one container, oldest first, as its kubelet keeps them.
    """
    plain = COLOUR.sub("", log)
    found = _raised(plain)
    if found:
        return found[:LONGEST]
    for line in reversed(plain.splitlines()):
        if ERROR.search(line) and not EMPTY.search(line):
            return PREFIX.sub("", line, count=1).strip()[:LONGEST]
    return ""


def only_points(words: str) -> bool:
    """Whether last words only say that there was an error before them."""
    return bool(EMPTY.search(words)) and not last_error(words)


def _raised(log: str) -> str:
    """The first process's own exception; empty for a log of one process, whose last words are the best."""
    traces: list[_Trace] = []
    newest: dict[str, _Trace] = {}
    for line in log.splitlines():
        mark = PROCESS.match(line)
        process = mark[1] if mark else ""
        rest = line[mark.end() :] if mark else line
        if CALM.match(rest):
            continue
        started = _read(process, newest.get(process), LOGGER.sub("", rest, count=1))
        if started:
            traces.append(started)
            newest[process] = started
    told = (_telling(trace) for trace in traces if trace.process not in ("", FRONT))
    return next((text for text in told if text), "")


def _read(process: str, last: _Trace | None, text: str) -> _Trace | None:
    """Take one line of a process in; returns the traceback that starts there."""
    if text.startswith(START):
        return _Trace(process, []) if last is None or not last.open else None
    if last is None:
        return None
    if text.startswith(CHAINED):
        last.open = True
    elif last.open and text.strip() and not text.startswith((" ", "\t")):
        last.ended.append(text.strip())
        last.open = False
    return None


def _telling(trace: _Trace) -> str:
    """Of chained exceptions the last that names an error of its own: it was raised for who reads it."""
    return next((text for text in reversed(trace.ended) if not EMPTY.search(text)), "")
