"""Reading the machine: processes by mark, sockets by owner, and ending exactly what is meant."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import host, remains

MARK = f"SLIPWAY_TEST_MARK_{os.getpid()}"  # another run of these tests may be on the machine


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: "/some/checkout"})
    yield child
    child.kill()
    child.wait()


def test_a_listener_is_named_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = host.listeners([port], frozenset({"127.0.0.1"}))
        assert found.process
        assert (found.address, found.port, found.process.pid) == ("127.0.0.1", port, os.getpid())
        assert "pytest" in found.process.command
        assert host.listeners([port], frozenset({"198.18.0.1"})) == []


def test_a_wildcard_listener_takes_the_port_of_every_address() -> None:
    code = (
        "import socket,sys,time; s=socket.create_server(('::', 0), family=socket.AF_INET6);"
        "print(s.getsockname()[1], flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        port = int(child.stdout.readline())
        (found,) = host.listeners([port], frozenset({"198.18.0.1"}))
        assert found.process
        assert (found.address, found.process.pid) == ("::", child.pid)
        child.kill()


def test_marked_processes_are_found_and_others_are_not(sleeper: subprocess.Popen[bytes]) -> None:
    (found,) = host.marked(MARK)
    assert (found.pid, found.mark) == (sleeper.pid, "/some/checkout")
    assert "sleep 60" in found.command
    assert host.marked("SLIPWAY_NO_SUCH_MARK") == []


def test_a_birth_names_one_process(sleeper: subprocess.Popen[bytes]) -> None:
    birth = host.birth(sleeper.pid)
    assert birth == host.birth(sleeper.pid)
    assert birth != host.birth(os.getpid())
    sleeper.kill()
    sleeper.wait()
    assert host.birth(sleeper.pid) == ""
    assert not host.alive(sleeper.pid)


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    limit = time.monotonic() + 10
    while host.alive(child.pid) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not host.alive(child.pid)
    child.wait()


def test_ending_is_polite_first_and_final_then() -> None:
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        child.stdout.readline()
        remains.end([child.pid], seconds=0.2)
        assert child.wait() == -9
    polite = subprocess.Popen(["sleep", "60"])
    remains.end([polite.pid])
    assert polite.wait() == -15


def test_shims_are_left_when_only_programs_end(sleeper: subprocess.Popen[bytes]) -> None:
    shim = host.Process(sleeper.pid, "/x/containerd-shim-runc-v2 -id 1", "/some/checkout")
    remains.end_programs([shim])
    assert sleeper.poll() is None


def test_mounts_are_listed_by_where_they_are() -> None:
    assert Path("/proc") in host.mounts([Path("/proc")])
    assert host.mounts([Path("/no/such/place")]) == []


def test_the_deepest_mount_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "self").mkdir()
    rows = [f"1 2 0:1 / /run/x{below} rw - tmpfs tmpfs rw" for below in ("", "/a\\040b", "/a\\040b/c")]
    (tmp_path / "self/mountinfo").write_text("\n".join([*rows, "1 2 0:1 / /run/xy rw - tmpfs t rw"]) + "\n")
    monkeypatch.setattr(host, "PROC", tmp_path)
    assert host.mounts([Path("/run/x")]) == [Path("/run/x/a b/c"), Path("/run/x/a b"), Path("/run/x")]


def test_remains_are_described_for_a_person() -> None:
    nothing = remains.Remains([], [], [], [], [])
    assert not nothing
    something = remains.Remains(
        [host.Process(7, "etcd", "/a")], [8], [Path("/var/x")], ["bridge b"], [Path("/var/y")]
    )
    assert something
    said = "; ".join(something.describe())
    for part in ("1 processes of the cluster of /a", "1 processes in pods", "1 mounts", "bridge b", "/var/y"):
        assert part in said
