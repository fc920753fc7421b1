"""Keeps the cluster's programs running, through supervisord; called by cluster.py.

supervisord restarts what ends; this module writes its configuration and speaks to it over its socket.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from hack.cluster import layout
from hack.cluster.components import Program

SOCKET = layout.RUN / "supervisor.sock"
CONFIG = layout.STATE / "etc" / "supervisord.conf"
START_S = 15.0
RUNNING = frozenset({"RUNNING", "STARTING"})


class _Api(Protocol):
    """What is used of supervisord's XML-RPC interface."""

    def getAllProcessInfo(self) -> list[dict[str, Any]]: ...  # noqa: N802
    def startProcess(self, name: str, wait: bool) -> bool: ...  # noqa: N802
    def stopProcess(self, name: str, wait: bool) -> bool: ...  # noqa: N802
    def reloadConfig(self) -> list[list[list[str]]]: ...  # noqa: N802
    def addProcessGroup(self, name: str) -> bool: ...  # noqa: N802
    def removeProcessGroup(self, name: str) -> bool: ...  # noqa: N802
    def getPID(self) -> int: ...  # noqa: N802
    def shutdown(self) -> bool: ...


def api() -> _Api:
    """A client of the running supervisord; its calls raise OSError when there is none."""
    transport = SupervisorTransport(None, None, f"unix://{SOCKET}")
    return cast("_Api", xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor)


def pid() -> int:
    """Process id of supervisord; 0 when it does not answer."""
    try:
        return api().getPID()
    except (OSError, xmlrpc.client.Error):
        return 0


def states() -> dict[str, str]:
    """Each program's state (RUNNING, BACKOFF, EXITED, STOPPED, FATAL …); empty without supervisord."""
    try:
        return {str(info["name"]): str(info["statename"]) for info in api().getAllProcessInfo()}
    except (OSError, xmlrpc.client.Error):
        return {}


def section(program: Program, logs: Path, *, priority: int = 999, autostart: bool = False) -> str:
    """The program's part of supervisord's configuration."""
    pairs = ",".join(f'{key}="{_escape(value)}"' for key, value in program.environment)
    environment = f"environment={pairs}\n" if pairs else ""
    return f"""[program:{program.name}]
command={_escape(shlex.join(program.command))}
directory=/
{environment}autostart={str(autostart).lower()}
autorestart=true
priority={priority}
startsecs=1
startretries=1000000
stopwaitsecs=20
redirect_stderr=true
stdout_logfile={_escape(str(logs / program.name))}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1

"""


def _escape(text: str) -> str:
    return text.replace("%", "%%")


def configuration(programs: Iterable[Program], logs: Path) -> str:
    """The whole configuration of supervisord; programs that others add lie in files of their own."""
    head = f"""[unix_http_server]
file={SOCKET}
chmod=0700

[supervisord]
logfile={_escape(str(logs))}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=1
pidfile={layout.RUN}/supervisord.pid
childlogdir={_escape(str(logs))}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files={layout.PROGRAMS}/*.conf

"""
    # They end in the reverse order of starting: the API server needs etcd to say goodbye.
    ordered = enumerate(programs, start=1)
    return head + "".join(section(program, logs, priority=rank) for rank, program in ordered)


def start() -> None:
    """Start supervisord as a daemon and wait until it answers; raises OSError when it does not."""
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIG)]
    mark = {layout.MARK: str(layout.CHECKOUT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=layout.child_environment(**mark), cwd="/"
    )
    if done.returncode:
        raise OSError(f"supervisord did not start: {done.stdout.strip()} {done.stderr.strip()}")
    limit = time.monotonic() + START_S
    while not pid():
        if time.monotonic() > limit:
            raise OSError(f"supervisord does not answer; see {layout.LOGS}/supervisord.log")
        time.sleep(0.1)


def update() -> list[str]:
    """Make supervisord read its configuration again; returns the programs that changed (they are stopped).

    Raises OSError with supervisord's words when it refuses.
    """
    with translated(f"configuration {CONFIG}"):
        added, changed, removed = api().reloadConfig()[0]
        for name in [*changed, *removed]:
            stop(name)
            api().removeProcessGroup(name)
        for name in [*added, *changed]:
            api().addProcessGroup(name)
        return [*added, *changed]


@contextmanager
def translated(what: str, *fine: str) -> Iterator[None]:
    """Turn supervisord's faults into OSErrors that say what they are about; faults named ``fine`` pass."""
    try:
        yield
    except xmlrpc.client.Fault as fault:
        if not any(name in fault.faultString for name in fine):
            raise OSError(f"{what}: supervisord says {fault.faultString}") from fault
    except xmlrpc.client.Error as error:
        raise OSError(f"{what}: supervisord does not speak XML-RPC: {error}") from error


def run(name: str) -> bool:
    """Start the program unless it runs; returns whether it was started now."""
    state = states().get(name)
    if state in RUNNING:
        return False
    if state == "BACKOFF":  # it waits for its next try, each time a second longer: try now
        stop(name)
    with translated(name, "ALREADY_STARTED"):
        return api().startProcess(name, False)  # noqa: FBT003 - XML-RPC knows no keywords
    return False


def stop(name: str) -> None:
    """Stop the program and wait for its end."""
    with translated(name, "NOT_RUNNING"):
        api().stopProcess(name, True)  # noqa: FBT003 - XML-RPC knows no keywords
