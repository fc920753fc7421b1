"""What is true on this machine now: processes, listening sockets, mounts; read from /proc, changes nothing.

Called by everything that starts, stops or explains a part of the cluster.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound


@dataclass(frozen=True)
class Process:
    """A process: its id, its command line and the value of a mark in its environment ("" without it)."""

    pid: int
    command: str
    mark: str = ""


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket and the process that holds it (None when it can't be seen)."""

    address: str
    port: int
    process: Process | None


def boot_id() -> str:
    """Changes with every boot."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def birth(pid: int) -> str:
    """Names this very process: a later one with the same id has another birth; "" when it is gone."""
    fields = _stat(pid)
    return f"{boot_id()}/{fields[19]}" if fields else ""


def command(pid: int) -> str:
    """The process's command line, or its name in brackets for a kernel thread; "" when it is gone."""
    try:
        line = (
            (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
        return line or f"[{(PROC / str(pid) / 'comm').read_text().strip()}]"
    except OSError:
        return ""


def environment(pid: int) -> dict[str, str]:
    """The environment that the process was started with; empty when it can't be read."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(part.split("=", 1) for part in raw.split("\0") if "=" in part)


def pids() -> Iterator[int]:
    """All process ids."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def marked(mark: str) -> list[Process]:
    """The processes that carry the mark in their environment, apart from this one and its parents."""
    own = set(ancestors(os.getpid()))
    found = []
    for pid in pids():
        value = environment(pid).get(mark) if pid not in own else None
        if value and alive(pid):
            found.append(Process(pid, command(pid), value))
    return found


def ancestors(pid: int) -> Iterator[int]:
    """The process and all its parents."""
    while pid > 0:
        yield pid
        fields = _stat(pid)
        pid = int(fields[1]) if fields else 0


def _address(raw: str) -> tuple[str, int]:
    host, port = raw.split(":")
    words = [int(host[i : i + 8], 16) for i in range(0, len(host), 8)]
    data = b"".join(struct.pack("=I", word) for word in words)
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, data), int(port, 16)


def listeners(ports: Sequence[int], addresses: frozenset[str]) -> list[Listener]:
    """Who listens on one of the ports at one of the addresses, or at all addresses."""
    found: dict[str, tuple[str, int]] = {}
    for table in ("tcp", "tcp6"):
        try:
            rows = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            address, port = _address(fields[1])
            if fields[3] == LISTENING and port in ports and address in addresses | WILDCARDS:
                found[fields[9]] = (address, port)
    holders = _holders(frozenset(found))
    return [Listener(*where, holders.get(inode)) for inode, where in found.items()]


def strangers(ports: Mapping[int, str], addresses: frozenset[str], mark: str) -> list[str]:
    """A line for each of the ports that a process without the mark holds: what it is for, and whose it is."""
    found = []
    for held in listeners(list(ports), addresses):
        who = held.process
        if who and environment(who.pid).get(mark):
            continue
        holder = f"{who.command} (pid {who.pid})" if who else "a process that can't be seen"
        found.append(f"port {held.port} on {held.address}, for {ports[held.port]}, is in use by {holder}")
    return found


def _holders(inodes: frozenset[str]) -> Mapping[str, Process]:
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    held: dict[str, Process] = {}
    for pid in pids() if wanted else ():
        for link in _open(pid):
            if link in wanted:
                held.setdefault(wanted[link], Process(pid, command(pid)))
    return held


def _open(pid: int) -> Iterator[str]:
    """What the process has open; what is closed meanwhile is left out."""
    try:
        entries = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            yield str(entry.readlink())


def mounts(below: Sequence[Path]) -> list[Path]:
    """The mount points at or below the directories, the deepest first."""
    try:
        rows = (PROC / "self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    points = [Path(row.split()[4].replace("\\040", " ").replace("\\134", "\\")) for row in rows]
    return [point for point in reversed(points) if any(point.is_relative_to(top) for top in below)]


def cgroup_roots() -> list[Path]:
    """The mounted cgroup hierarchies: one for version 2, one a controller for version 1."""
    rows = [row.split() for row in (PROC / "self/mountinfo").read_text().splitlines()]
    kinds = [(Path(row[4]), row[row.index("-") + 1], row[-1]) for row in rows]
    unified = [path for path, kind, _ in kinds if kind == "cgroup2"]
    split = [path for path, kind, _ in kinds if kind == "cgroup"]
    return [*split, *unified]


def cgroup_version() -> int:
    """2 when the machine has only the unified hierarchy, else 1."""
    return 2 if (Path("/sys/fs/cgroup") / "cgroup.controllers").exists() else 1
