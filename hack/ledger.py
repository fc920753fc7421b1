#!/usr/bin/env python3
"""Run one step of a make target, say how far it is, and keep what it cost; called by the Makefile.

``ledger.py run NAME [--show] [--hint TEXT] -- COMMAND…`` and ``ledger.py show [--all]``. Standard library
only: it runs before anything of ours is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".cluster"
HEARTBEAT_S = 15.0  # half of the longest silence that a step may show
POLL_S = 0.2
KEPT = 500  # steps in the ledger; older ones go
HINT = "read the log; `make cluster-doctor` says what is wrong with the machine or the cluster"


@dataclass(frozen=True)
class Entry:
    """One step that ran: when (seconds since the epoch), for how long (seconds), how it ended and its log."""

    run: str
    step: str
    started: float
    seconds: float
    code: int
    log: str


@dataclass
class Follower:
    """Reads what a step adds to its log: passes it on when shown, and remembers the last line."""

    log: TextIO
    show: bool
    last: str = ""
    shown_at: float = field(default_factory=time.monotonic)

    def read(self) -> None:
        """Take in what was written since the last call."""
        text = self.log.read()
        if not text:
            return
        lines = [part.strip() for part in re.split(r"[\r\n]+", text) if part.strip()]
        if lines:
            self.last = lines[-1]
        if self.show:
            sys.stdout.write(text)
            sys.stdout.flush()
            self.shown_at = time.monotonic()

    def beat(self, step: str, started: float) -> None:
        """Print one line when nothing was shown for a while: what runs, since when, its last line."""
        now = time.monotonic()
        if now - self.shown_at < HEARTBEAT_S:
            return
        self.shown_at = now
        print(f"  … {step}: {now - started:.0f} s  {self.last[:90]}", flush=True)


def slug(step: str) -> str:
    """The step's name as a file name."""
    return re.sub(r"[^a-z0-9]+", "-", step.lower()).strip("-") or "step"


def short(path: Path) -> str:
    """The path as a person in the checkout would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def run_id() -> str:
    """The Makefile names each run once; a step outside of it belongs to its process group's."""
    return os.environ.get("SLIPWAY_RUN") or f"{os.getpgid(0)}-{time.strftime('%Y%m%d')}"


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the ledger's lock: steps of parallel makes append one after the other."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "ledger.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def load(state: Path) -> list[Entry]:
    """All steps in the ledger, oldest first; a broken or missing file counts as empty."""
    try:
        rows: list[dict[str, Any]] = json.loads((state / "ledger.json").read_text())
        return [Entry(**row) for row in rows]
    except (OSError, ValueError, TypeError):
        return []


def record(state: Path, entry: Entry) -> None:
    """Append the step; written beside and renamed, so that a killed make leaves a whole file."""
    with locked(state):
        rows = [asdict(row) for row in [*load(state), entry][-KEPT:]]
        beside = state / "ledger.json.new"
        beside.write_text(json.dumps(rows, indent=1) + "\n")
        beside.replace(state / "ledger.json")


def latest(entries: list[Entry], run: str = "") -> list[Entry]:
    """The steps of that run, or of the last one when that has none; runs of several makes may interleave."""
    mine = [entry for entry in entries if run and entry.run == run]
    return mine or [entry for entry in entries if entry.run == entries[-1].run]


def table(entries: list[Entry]) -> str:
    """The steps with their seconds, and the sum."""
    if not entries:
        return "no steps recorded yet"
    width = max(len(entry.step) for entry in entries)
    rows = [f"{'step':{width}}  seconds  result"]
    for entry in entries:
        result = "ok" if entry.code == 0 else f"failed ({entry.code}): {entry.log}"
        rows.append(f"{entry.step:{width}}  {entry.seconds:7.1f}  {result}")
    rows.append(f"{'total':{width}}  {sum(entry.seconds for entry in entries):7.1f}")
    return "\n".join(rows)


def failure(entry: Entry, tail: list[str], hint: str) -> str:
    """What a person reads when a step failed: the step, its last lines, its log, the next thing to try."""
    ended = f"signal {-entry.code}" if entry.code < 0 else f"exit {entry.code}"
    lines = "".join(f"    {line}\n" for line in tail)
    return (
        f"\nFAILED: {entry.step} after {entry.seconds:.0f} s ({ended})\n{lines}"
        f"  log:  {entry.log}\n  next: {hint}\n"
    )


def follow(child: subprocess.Popen[bytes], step: str, follower: Follower, started: float) -> int:
    """Wait for the step, with a sign of life at least every 15 s; returns its exit status."""
    while True:
        try:
            code = child.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            follower.read()
            follower.beat(step, started)
            continue
        follower.read()
        return code


@contextmanager
def reserved(folder: Path, step: str) -> Iterator[tuple[Path, TextIO]]:
    """The step's log, open for reading; one beside it while another make runs a step of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (slug(step), f"{slug(step)}-{os.getpid()}"):
        log = folder / f"{name}.log"
        log.touch()
        with log.open(errors="replace") as source:
            try:
                fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield log, source
            return


def run(step: str, command: list[str], *, show: bool, hint: str, state: Path) -> int:
    """Run the command as a step; returns its exit status (127: no such program)."""
    with reserved(state / "log" / "steps", step) as (log, source):
        return run_logged(step, command, log, Follower(source, show), hint=hint, state=state)


def run_logged(
    step: str, command: list[str], log: Path, follower: Follower, *, hint: str, state: Path
) -> int:
    """Run the command with its output in the log, and record it; returns its exit status."""
    print(f"▸ {step}", flush=True)
    started_at, started = time.time(), time.monotonic()
    with log.open("wb") as sink:
        try:
            child = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
        except OSError as error:
            sink.write(f"{error}\n".encode())
            code = 127
        else:

            def forward(number: int, _frame: FrameType | None) -> None:
                child.send_signal(number)

            signal.signal(signal.SIGTERM, forward)
            # Ctrl-C reaches the child from the terminal: wait for it, so that it can clean up.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            code = follow(child, step, follower, started)
    seconds = time.monotonic() - started
    entry = Entry(run_id(), step, round(started_at, 1), round(seconds, 1), code, short(log))
    record(state, entry)
    if code:
        tail = [] if follower.show else log.read_text(errors="replace").splitlines()[-8:]
        print(failure(entry, tail, hint), file=sys.stderr, flush=True)
        if len(steps := latest(load(state), entry.run)) > 1:
            print(table(steps), file=sys.stderr, flush=True)
        return code if code > 0 else 128 - code
    print(f"✓ {step}  {seconds:.1f} s", flush=True)
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; everything after ``--`` is the step's command."""
    parser = argparse.ArgumentParser(description="run a step and keep its seconds, or show what was kept")
    verbs = parser.add_subparsers(dest="verb", required=True)
    step = verbs.add_parser("run", help="run one step: ledger.py run NAME -- COMMAND…")
    step.add_argument("name")
    step.add_argument("--show", action="store_true", help="pass the command's output on as it comes")
    step.add_argument("--hint", default=HINT, help="the next thing to try when the step fails")
    shown = verbs.add_parser("show", help="print the steps of the last run")
    shown.add_argument("--all", action="store_true", help="print every run that was kept")
    command: list[str] = []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, command = arguments[:cut], arguments[cut + 1 :]
    options = parser.parse_args(arguments)
    if options.verb == "run" and not command:
        parser.error("nothing to run: put the command after --")
    options.command = command
    return options


def main(arguments: list[str], state: Path = STATE) -> int:
    """Entry point; returns the process's exit status."""
    options = parse(arguments)
    if options.verb == "run":
        return run(options.name, options.command, show=options.show, hint=options.hint, state=state)
    entries = load(state)
    print(table(entries if options.all else latest(entries, run_id())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
