"""Runs a program of the image: its lines as they come, its last words, and no orphan. Called by stages."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_runtime.errors import ToolError
from slipway_runtime.log import LOGGER

LAST_LINES = 40
STOP_SECONDS = 10.0
"""A pod's grace period is 30 s by default: a tool gets a third of it."""
LINE_ENDS = b"\r\n"
"""Progress bars end their lines with a return."""
FULL_DISK = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
WORDS_LIMIT = 700
"""Characters of a tool's last words in a message; the whole result has 2048 bytes."""


class Enough(Exception):  # noqa: N818 - no error: the caller has what it wanted
    """Raised by a caller's ``on_line`` to stop the tool; ``run_tool`` then returns as after success."""


@dataclass(frozen=True)
class Outcome:
    """How a tool ended; ``code`` is negative for a signal, ``lines`` are the last of stdout and stderr."""

    code: int
    lines: tuple[str, ...]

    @property
    def last_words(self) -> str:
        """The last lines that say something, for a person."""
        said = [line for line in self.lines if line.strip()]
        return "\n".join(said[-8:])[-WORDS_LIMIT:]

    @property
    def disk_was_full(self) -> bool:
        """Whether the tool complained about a full disk."""
        return any(FULL_DISK.search(line) for line in self.lines)


def find_program(name: str) -> str:
    """Return the program's path; ToolError when the image lacks it."""
    found = shutil.which(name)
    if found is None:
        raise ToolError("ToolMissing", f"{name} is not in this image: is it Slipway's runtime image?")
    return found


def run_tool(
    command: Sequence[str | Path],
    on_line: Callable[[str], None] = lambda _line: None,
    environment: Mapping[str, str] | None = None,
    line_ends: bytes = LINE_ENDS,
    cwd: Path | None = None,
) -> Outcome:
    """Run a command to its end; each line, ended by any byte of ``line_ends``, goes to ``on_line`` at once.

    Raises:
        ToolError: OutOfMemory when it was killed by SIGKILL, which nobody but the kernel sends here.
        TerminatedError: passed on after the tool was stopped.
    """
    lines: deque[str] = deque(maxlen=LAST_LINES)

    def take(line: str) -> None:
        lines.append(line)
        on_line(line)

    LOGGER.info("running %s", " ".join(str(part) for part in command))
    # Separate group: a terminal's or kubelet's signal reaches us alone, and we stop the tool in order.
    with subprocess.Popen(  # noqa: S603 - our own command, no shell
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        process_group=0,
    ) as process:
        try:
            _read_lines(process, line_ends, take)
            code = process.wait()
        except Enough:
            _stop(process)
            code = 0
        except BaseException:
            _stop(process)
            raise
    if code == -signal.SIGKILL:
        raise ToolError(
            "OutOfMemory",
            f"{Path(command[0]).name} was killed, most likely for want of memory: "
            "the Job's memory limit is too small for this model, or the node has too little",
        )
    return Outcome(code, tuple(lines))


def _read_lines(process: subprocess.Popen[bytes], line_ends: bytes, on_line: Callable[[str], None]) -> None:
    if process.stdout is None:
        return
    ends = re.compile(b"[" + re.escape(line_ends) + b"]+")
    rest = b""
    while block := os.read(process.stdout.fileno(), 65536):
        *whole, rest = ends.split(rest + block)
        for raw in whole:
            _pass_on(raw, on_line)
    _pass_on(rest, on_line)


def _pass_on(raw: bytes, on_line: Callable[[str], None]) -> None:
    line = raw.decode("utf-8", errors="replace").rstrip()
    if line:
        on_line(line)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
