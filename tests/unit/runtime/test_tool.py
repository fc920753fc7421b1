"""Tools: lines as they come, last words, and nothing left running."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from slipway_runtime.errors import TerminatedError, ToolError
from slipway_runtime.tool import STOP_SECONDS, Outcome, find_program, run_tool

SLEEPS = 60
"""Seconds that a tool would go on for if nobody stopped it."""


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def test_lines_end_by_newline_or_return_and_both_streams_count() -> None:
    seen: list[str] = []
    code = "import sys; print('a', end='\\r50%\\r'); print('b', file=sys.stderr); print('c', end='')"
    outcome = run_tool(python(code), seen.append)
    assert seen == ["a", "50%", "b", "c"]
    assert outcome == Outcome(0, ("a", "50%", "b", "c"))


def test_other_line_ends_show_a_line_before_it_is_over() -> None:
    seen: list[str] = []
    run_tool(python("print('[1]9.5,[2]8.25,', end='')"), seen.append, line_ends=b"\r\n,")
    assert seen == ["[1]9.5", "[2]8.25"]


def test_exit_code_and_last_words() -> None:
    outcome = run_tool(python("import sys; [print('line', n) for n in range(100)]; sys.exit('the reason')"))
    assert outcome.code == 1
    assert len(outcome.lines) == 40
    assert outcome.last_words.endswith("line 99\nthe reason")
    assert len(Outcome(1, ("x" * 5000,)).last_words) <= 700


def test_sigkill_is_taken_for_want_of_memory() -> None:
    with pytest.raises(ToolError) as caught:
        run_tool(python("import os; os.kill(os.getpid(), 9)"))
    assert (caught.value.reason, caught.value.code) == ("OutOfMemory", 70)


def test_the_tool_is_stopped_when_we_are(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); print('up'); "
        f"time.sleep({SLEEPS})"
    )

    def stop(_line: str) -> None:
        raise TerminatedError

    began = time.monotonic()
    with pytest.raises(TerminatedError):
        run_tool(python(code), stop)
    assert time.monotonic() - began < STOP_SECONDS
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_tool_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway_runtime.tool.STOP_SECONDS", 0.2)
    pids: list[int] = []
    code = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"print(os.getpid()); time.sleep({SLEEPS})"
    )

    def stop(line: str) -> None:  # it ignores SIGTERM by now
        pids.append(int(line))
        raise TerminatedError

    began = time.monotonic()
    with pytest.raises(TerminatedError):
        run_tool(python(code), stop)
    assert time.monotonic() - began < STOP_SECONDS
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_full_disk_is_recognised() -> None:
    assert Outcome(1, ("write: No space left on device",)).disk_was_full
    assert not Outcome(1, ("fine",)).disk_was_full


def test_a_missing_program_is_the_images_fault() -> None:
    with pytest.raises(ToolError) as caught:
        find_program("llama-no-such")
    assert caught.value.reason == "ToolMissing"
