"""A program of the tests' own beside the cluster, which ends with the block, or with whoever started it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hack.cluster import layout, tools

POLL_S = 0.1
READY_S = 60.0
END_S = 10.0


def built(name: str) -> Path:
    """A tool from the cache; it is not built here, where nobody would see why a test takes minutes.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = tools.locate([name], tools.go()[1])[name]
    if not path.exists():
        raise FileNotFoundError(f"{name} is not built: run 'make tools-engines' first")
    return path


@contextmanager
def running(
    command: Sequence[str | Path], log: Path, ready: Callable[[], bool], **environment: str
) -> Iterator[None]:
    """Keep the program running for the block; what it says goes to the log.

    The kernel ends it with its parent too (``setpriv --pdeathsig``): tests that are killed leave none behind.

    Raises:
        AssertionError: it ended, or is not ready in time; with the end of its log.
    """
    whole = ["setpriv", "--pdeathsig", "TERM", *map(str, command)]
    with (
        log.open("wb") as out,
        subprocess.Popen(
            whole, stdout=out, stderr=subprocess.STDOUT, cwd="/", env=layout.child_environment(**environment)
        ) as child,
    ):
        try:
            _wait(child, log, ready)
            yield
            assert child.poll() is None, _said(child, log, "ended by itself")
        finally:
            end(child)


def _wait(child: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    limit = time.monotonic() + READY_S
    while not ready():
        assert child.poll() is None, _said(child, log, "ended at once")
        assert time.monotonic() < limit, _said(child, log, "does not get ready")
        time.sleep(POLL_S)


def _said(child: subprocess.Popen[bytes], log: Path, what: str) -> str:
    tail = log.read_text(errors="replace")[-3000:]
    return f"{child.args!r} {what} (exit {child.returncode}):\n{tail}"


def end(child: subprocess.Popen[bytes]) -> None:
    """End this one process, by force if it takes too long."""
    child.terminate()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def find_tool(name: str, what: str) -> Path:
    """Path of a tool of ``make tools-test`` in the cache; else skips, but never where CI is set."""
    with suppress(tools.BuildError):  # no Go here: then nothing was built by it either
        path = tools.locate([name], tools.go()[1])[name]
        if path.exists():
            return path
    words = f"no {what} here: 'make tools-test' builds it"
    assert not os.environ.get("CI"), words
    pytest.skip(words)
