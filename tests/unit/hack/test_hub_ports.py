"""The hub does not start on a port of somebody else's, and says whose it is."""

from __future__ import annotations

import os

import pytest

from hack.cluster import host, layout
from hack.hub import hub


def test_a_taken_port_is_named_with_its_holder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listeners(ports: list[int], _addresses: frozenset[str]) -> list[host.Listener]:
        held = host.Listener("127.0.0.1", 8091, host.Process(os.getpid(), "nginx: master"))
        return [held] if 8091 in ports else []

    monkeypatch.setattr(host, "listeners", listeners)
    monkeypatch.setattr(host, "environment", lambda _: {})
    monkeypatch.setattr(hub, "demo_root", lambda: pytest.fail("nothing may start"))
    assert hub.up() == 1
    assert "port 8091 on 127.0.0.1, for the hub, is in use by nginx: master (pid" in capsys.readouterr().err
    monkeypatch.setattr(host, "environment", lambda _: {layout.MARK: "/x"})
    assert hub.strangers() == []
