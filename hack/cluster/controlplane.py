#!/usr/bin/env python3
"""A bare Kubernetes control plane (etcd, API server, controllers on wish) for API tests and benchmarks.

Called by pytest fixtures and benchmarks through ``ControlPlane``, by people as
``controlplane.py start --dir DIR [--with-controller-manager]`` and ``controlplane.py stop --dir DIR``.
Needs no root, listens on free loopback ports, leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from hack.cluster import components, host, layout, probe, tools

START_S = 60.0
STOP_S = 10.0
NAMES = ("etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager")


def free_ports(names: tuple[str, ...] = NAMES) -> dict[str, int]:
    """Ports of 127.0.0.1 on which nobody listens now, one a name."""
    sockets = [socket.socket() for _ in names]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}
    finally:
        for each in sockets:
            each.close()


class ControlPlane:
    """A control plane that lives as long as the ``with`` block, or from start() to stop().

    ``kubeconfig`` is the administrator's; ``url`` the API server's. pause, resume, kill and restart take a
    program's name (etcd, kube-apiserver, kube-controller-manager), for tests of what happens then.
    """

    def __init__(
        self,
        directory: Path,
        *,
        controller_manager: bool = False,
        detached: bool = False,
        logs: Path | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.logs = logs or self.directory / "log"
        self.controller_manager = controller_manager
        self.detached = detached
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        wanted = ["kube-apiserver", *(["kube-controller-manager"] if controller_manager else [])]
        self.files = components.ControlPlaneFiles(
            self.directory, "127.0.0.1", free_ports(), tools.ensure(wanted)
        )

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.files.kubeconfig("admin")

    @property
    def url(self) -> str:
        """The API server's URL."""
        return self.files.url

    @property
    def client(self) -> probe.Client:
        """An HTTPS client with the administrator's certificate."""
        return probe.Client(self.files.pki)

    @property
    def pids(self) -> dict[str, int]:
        """The running programs' process ids by name."""
        return {name: process.pid for name, process in self.processes.items()}

    def log(self, name: str) -> Path:
        """The log of one program."""
        return self.logs / f"{name}.log"

    def programs(self) -> list[components.Program]:
        """What runs, in the order of starting."""
        made = [components.etcd(self.files), components.apiserver(self.files)]
        if self.controller_manager:
            made.append(components.controller_manager(self.files))
        return made

    def start(self) -> ControlPlane:
        """Start everything and wait until it is ready; stops what it started when that fails."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            components.certify(self.files)
            for program in self.programs():
                self._start(program)
            self._wait_for_namespace()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, program: components.Program) -> None:
        log = self.log(program.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        # When the tests are killed, what they started goes with them.
        bound = [] if self.detached else [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL"]
        environment = layout.child_environment(**dict(program.environment))
        with log.open("ab") as sink:
            self.processes[program.name] = subprocess.Popen(
                [*bound, *program.command], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                env=environment, start_new_session=True, cwd=self.directory,
            )  # fmt: skip
        self._wait(program)

    def _wait(self, program: components.Program) -> None:
        process, log = self.processes[program.name], self.log(program.name)

        def ready() -> bool:
            if process.poll() is not None:
                raise probe.NotReadyError(
                    f"{program.name} ended with {process.returncode}; its log: {log}\n{probe.tail(log)}"
                )
            return self.client.ready(program.ready)

        probe.wait(program.name, ready, START_S, lambda: f"  log: {log}\n{probe.tail(log)}")

    def _wait_for_namespace(self) -> None:
        """The API server makes ``default`` after it is ready; tests create objects in it at once."""
        probe.wait(
            "namespace default", lambda: self.client.ready(f"{self.url}/api/v1/namespaces/default"), START_S
        )

    def stop(self) -> None:
        """End everything, the last started first; returns when all are gone."""
        for name in reversed(list(self.processes)):
            process = self.processes.pop(name)
            process.send_signal(signal.SIGCONT)  # a paused process can't end
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pause(self, name: str) -> None:
        """Make the program hang: its connections stay open and nobody answers."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused program go on."""
        self.processes[name].send_signal(signal.SIGCONT)

    def kill(self, name: str) -> None:
        """End the program at once (SIGKILL)."""
        self.processes[name].kill()
        self.processes[name].wait()

    def restart(self, name: str) -> None:
        """Start a program again that was killed, on the same ports, and wait until it is ready."""
        for program in self.programs():
            if program.name == name:
                self._start(program)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(directory: Path, *, controller_manager: bool) -> None:
    """Start a control plane that outlives this process; prints its kubeconfig."""
    record = directory / "processes.json"
    if record.exists():
        stop(directory)
    plane = ControlPlane(directory, controller_manager=controller_manager, detached=True).start()
    record.write_text(json.dumps({name: host.birth(pid) for name, pid in plane.pids.items()}))
    (directory / "pids.json").write_text(json.dumps(plane.pids))
    print(plane.kubeconfig)


def stop(directory: Path) -> None:
    """End what start() left running; a process id that meanwhile belongs to another is left alone."""
    try:
        births = json.loads((directory / "processes.json").read_text())
        pids = json.loads((directory / "pids.json").read_text())
    except (OSError, ValueError):
        print(f"nothing was started in {directory}")
        return
    for name in reversed(list(pids)):
        if host.birth(pids[name]) == births[name]:
            end(pids[name])
    (directory / "processes.json").unlink()


def end(pid: int) -> None:
    """End a process: politely, and after ten seconds not."""
    for number in (signal.SIGCONT, signal.SIGTERM):
        os.kill(pid, number)
    limit = time.monotonic() + STOP_S
    while host.alive(pid):
        if time.monotonic() > limit:
            os.kill(pid, signal.SIGKILL)
        time.sleep(probe.PAUSE_S)


def main(arguments: list[str]) -> int:
    """Command line; returns the process's exit status."""
    parser = argparse.ArgumentParser(description="a bare control plane on free loopback ports, without root")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("start", "stop"):
        verb = verbs.add_parser(name)
        verb.add_argument("--dir", type=Path, required=True, help="directory for data, logs and kubeconfig")
        if name == "start":
            verb.add_argument("--with-controller-manager", action="store_true")
    options = parser.parse_args(arguments)
    if options.verb == "start":
        start(options.dir.absolute(), controller_manager=options.with_controller_manager)
    else:
        stop(options.dir.absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
