"""The local cluster ends without a trace, and touches nothing of others; runs behind all other tests."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from hack.cluster import host, layout, remains
from tests.cluster import machine
from tests.cluster.test_lifecycle import MARKS, command

pytestmark = MARKS
TAKEN = layout.PORTS["kube-proxy-health"]
HELD = {"processes", "mounts", "links", "routes", "tables", "cgroups", "files", "left"}
"""What a cluster surely has: else the test would look in the wrong places."""


def noted() -> dict[str, str]:
    """The kernel's settings as they were before the cluster."""
    owner = remains.read_owner()
    assert owner
    return {"net/ipv4/ip_forward": owner.forwarding, **owner.kernel}


def test_down_leaves_nothing_and_touches_nothing_of_others(tmp_path: Path) -> None:
    before = noted()
    with machine.foreigners(tmp_path) as missing:
        assert {kind for kind, what in machine.traces().items() if what} >= HELD
        command("down")
        assert {kind: what for kind, what in machine.traces().items() if what} == {}
    assert missing == []
    assert {name: (machine.SYSTEM / name).read_text().strip() for name in before} == before
    assert not layout.KUBECONFIG.exists()
    assert "no cluster" in command("down")


def test_a_taken_port_is_said_by_name_and_nothing_is_started() -> None:
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("0.0.0.0", TAKEN))  # noqa: S104 - as a careless program does
        taker.listen()
        said = command("up", status=1)
    assert f"port {TAKEN}" in said
    assert "kube-proxy-health" in said
    assert f"(pid {os.getpid()})" in said
    assert re.search(r"pytest", said)
    assert not host.marked(layout.MARK)
    command("down")
    assert {kind: what for kind, what in machine.traces().items() if what} == {}
