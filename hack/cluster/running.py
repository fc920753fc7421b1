"""Has the cluster's programs run, each one ready before the next; called by up.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from hack.cluster import host, layout, probe, remains, supervise
from hack.cluster.components import Program

READY_S = 90.0
CRASHING_S = 15.0  # a program that ends again and again for so long will not get there
Say = Callable[[str], None]


def run_supervisor(wanted: list[Program], say: Say) -> None:
    """Have supervisord run with the present configuration; ends programs that lost theirs."""
    changed = layout.write(supervise.CONFIG, supervise.configuration(wanted, layout.LOGS))
    if not supervise.pid():
        orphans = [each for each in host.marked(layout.MARK) if remains.SHIM not in each.command]
        if orphans:
            say(f"supervisord is gone: ending the {len(orphans)} programs that it left, pods run on")
            remains.end_programs(orphans)
        supervise.SOCKET.unlink(missing_ok=True)
        supervise.start()
    elif changed:
        say(f"changed: {', '.join(supervise.update())}")


def run_programs(wanted: list[Program], client: probe.Client, say: Say) -> None:
    """Start each program that does not run and wait until it is ready; names the one that fails."""
    for program in wanted:
        started = supervise.run(program.name)
        watch = Watch(program, client)
        seconds = probe.wait(program.name, watch.ready, READY_S, watch.explain)
        if started:
            say(f"{program.name} is ready after {seconds:.1f} s")


@dataclass
class Watch:
    """One program on its way to being ready."""

    program: Program
    client: probe.Client
    crashing_since: float = 0.0

    def ready(self) -> bool:
        """Whether the program is ready; raises NotReadyError when it ends again and again."""
        state = supervise.states().get(self.program.name, "")
        self._crashes(state, time.monotonic())
        if self.program.ready:
            return self.client.ready(self.program.ready)
        listens = self.program.name != "containerd" or layout.NODE.socket.is_socket()
        return state == "RUNNING" and listens

    def _crashes(self, state: str, now: float) -> None:
        if state not in {"BACKOFF", "STARTING", "EXITED", "FATAL"}:
            self.crashing_since = 0.0
            return
        self.crashing_since = self.crashing_since or now
        if now - self.crashing_since > CRASHING_S:
            raise probe.NotReadyError(f"{self.program.name} ends again and again\n{self.explain()}")

    def explain(self) -> str:
        """The program's log and its last lines."""
        log = layout.LOGS / f"{self.program.name}.log"
        return f"  log: {log}\n{probe.tail(log)}"
