"""A program that waits for its next try is started at once: what made it fail may be gone."""

from __future__ import annotations

import xmlrpc.client
from typing import Any

import pytest

from hack.cluster import supervise


class Supervisor:
    """Plays supervisord with one program."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.asked: list[str] = []

    def getAllProcessInfo(self) -> list[dict[str, Any]]:  # noqa: N802 - supervisord's name
        return [{"name": "etcd", "statename": self.state}]

    def stopProcess(self, name: str, _wait: bool) -> bool:  # noqa: N802 - the same
        self.asked.append(f"stop {name}")
        self.state = "STOPPED"
        return True

    def startProcess(self, name: str, _wait: bool) -> bool:  # noqa: N802 - the same
        self.asked.append(f"start {name}")
        if self.state in {"RUNNING", "STARTING", "BACKOFF"}:
            raise xmlrpc.client.Fault(60, f"ALREADY_STARTED: {name}")
        self.state = "STARTING"
        return True


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        ("RUNNING", []),
        ("STARTING", []),
        ("BACKOFF", ["stop etcd", "start etcd"]),
        ("EXITED", ["start etcd"]),
        ("FATAL", ["start etcd"]),
    ],
)
def test_whatever_does_not_run_is_started(
    monkeypatch: pytest.MonkeyPatch, state: str, asked: list[str]
) -> None:
    supervisor = Supervisor(state)
    monkeypatch.setattr(supervise, "api", lambda: supervisor)
    assert supervise.run("etcd") == bool(asked)
    assert supervisor.asked == asked
