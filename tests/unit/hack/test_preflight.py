"""What would stop the cluster after half an hour of building is said before; our own cluster does not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from hack.cluster import cluster, doctor, host, layout, network, supervise


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A fresh machine with room enough and nothing in the way, to change."""
    made = SimpleNamespace(free=99.0, memory=9.0, running=0, clashes=[], held=[])
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    monkeypatch.setattr(cluster, "usable", lambda: "")
    monkeypatch.setattr(supervise, "pid", lambda: made.running)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=made.free * 2**30))
    monkeypatch.setattr(doctor, "_memory_gib", lambda: made.memory)
    monkeypatch.setattr(network, "foreign_addresses", lambda: made.clashes)
    monkeypatch.setattr(
        host, "listeners", lambda ports, _: [each for each in made.held if each.port in ports]
    )
    return made


def test_nothing_in_the_way_is_not_worth_a_word(
    machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cluster.main(["preflight"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("what", "value", "said"),
    [
        ("free", 9.0, "9 GiB free below /var/lib → 15 GiB are needed"),
        ("memory", 2.0, "2 GiB memory available → 6 GiB are needed"),
        ("clashes", ["vpn0 has 198.18.7.7"], "vpn0 has 198.18.7.7, inside the cluster's range"),
    ],
)
def test_each_obstacle_is_named(
    machine: SimpleNamespace, capsys: pytest.CaptureFixture[str], what: str, value: object, said: str
) -> None:
    setattr(machine, what, value)
    assert cluster.main(["preflight"]) == 1
    errors = capsys.readouterr().err
    assert said in errors
    assert "make demo CONTEXT=name" in errors


def test_strangers_on_the_clusters_and_the_hubs_ports_are_named(
    machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = host.Process(os.getpid(), "nginx: master")
    machine.held = [host.Listener("0.0.0.0", port, stranger) for port in (6443, 8090)]  # noqa: S104
    assert cluster.main(["preflight"]) == 1
    errors = capsys.readouterr().err
    assert "port 6443 on 0.0.0.0, for kube-apiserver, is in use by nginx: master" in errors
    assert "port 8090 on 0.0.0.0, for the model hub, is in use by nginx: master" in errors


def test_our_own_cluster_is_no_obstacle(machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.running, machine.free, machine.memory = 7, 1.0, 1.0
    machine.held = [host.Listener(layout.NODE_IP, 6443, host.Process(7, "kube-apiserver"))]
    monkeypatch.setattr(host, "environment", lambda _: {layout.MARK: str(layout.CHECKOUT)})
    assert cluster.main(["preflight"]) == 0


def test_what_is_built_needs_less_disk(machine: SimpleNamespace, tmp_path: Path) -> None:
    machine.free = 9.0
    (tmp_path / "images").mkdir()
    (tmp_path / "images/operator-0123.tar").touch()
    assert cluster.main(["preflight"]) == 0
