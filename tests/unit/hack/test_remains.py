"""Ending a cluster: an interruption is found again, the machine's settings come back, others' files stay."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hack.cluster import kernel, layout, network, node, remains

OWNER = remains.Owner(str(layout.CHECKOUT), "boot", "shape", "0", {"kernel/panic": "5"})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose cluster has only files and a network."""
    for name in ("STATE", "RUN"):
        monkeypatch.setattr(layout, name, tmp_path / name.lower())
    monkeypatch.setattr(layout, "OWNER", tmp_path / "state/owner.json")
    monkeypatch.setattr(node, "cgroups", list)
    monkeypatch.setattr(remains, "unmount", lambda: None)
    monkeypatch.setattr(remains, "CONTAINER_LOGS", tmp_path / "containers")
    monkeypatch.setattr(remains, "CNI_RESULTS", tmp_path / "results")
    monkeypatch.setattr(remains, "PLUGIN_SOCKET", tmp_path / "kubelet.sock")
    monkeypatch.setattr(remains, "CNI_LOCK", tmp_path / "net.d/cni.lock")
    monkeypatch.setattr(remains, "EMPTY", (tmp_path / "containers", tmp_path / "results", tmp_path / "net.d"))
    monkeypatch.setattr(network, "down", lambda _: [])
    monkeypatch.setattr(kernel, "SYSTEM", tmp_path / "sys")
    for folder in (layout.STATE, layout.RUN):
        (folder / "etc").mkdir(parents=True)
    remains.write_owner(OWNER)
    return tmp_path


def clear() -> None:
    remains.clear(remains.Remains([], [], [], [], [layout.STATE]), remains.read_owner(), print)


def test_an_interrupted_end_keeps_the_settings_and_is_adopted_by_nobody(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: str) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(network, "down", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clear()
    assert remains.read_owner() == replace(OWNER, shape=remains.ENDING)


def test_what_is_left_of_interrupted_removal_has_no_owner(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clear()
    assert layout.STATE.exists()
    assert remains.read_owner() is None


def test_the_end_is_told_the_settings_and_leaves_no_file(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    def tell(before: object) -> list[str]:
        told.append(before)
        return []

    monkeypatch.setattr(network, "down", tell)
    monkeypatch.setattr(kernel, "restore", tell)
    clear()
    assert told == ["0", {"kernel/panic": "5"}]
    assert not layout.STATE.exists()
    assert not layout.RUN.exists()


def test_traces_go_and_what_others_left_stays(machine: Path) -> None:
    logs, notes = machine / "containers", machine / "results"
    logs.mkdir()
    (logs / "ours.log").symlink_to(layout.STATE / "kubelet/pod-logs/0.log")
    (logs / "others.log").symlink_to("/var/log/pods/0.log")
    notes.mkdir()
    for name in ("cni-loopback-1-lo", "slipway-1-eth0"):
        (notes / name).write_text(json.dumps({"netns": f"{layout.RUN}/containerd/netns/cni-1"}))
    (notes / "cni-loopback-2-lo").write_text(json.dumps({"netns": "/run/netns/cni-2"}))
    (machine / "net.d").mkdir()
    (machine / "net.d/cni.lock").touch()
    remains.remove_traces()
    assert [path.name for path in logs.iterdir()] == ["others.log"]
    assert [path.name for path in notes.iterdir()] == ["cni-loopback-2-lo"]
    assert not (machine / "net.d").exists()


def test_a_note_of_an_older_cluster_is_understood(machine: Path) -> None:
    older = {"checkout": "/x", "boot": "b", "shape": "s", "forwarding": "0"}
    layout.OWNER.write_text(json.dumps(older))
    assert remains.read_owner() == remains.Owner("/x", "b", "s", "0", {})


def setting(machine: Path, name: str) -> Path:
    return machine / "sys" / name


def test_only_what_is_still_as_the_kubelet_set_it_is_set_back(machine: Path) -> None:
    before = {"kernel/panic": "0", "kernel/panic_on_oops": "0", "vm/overcommit_memory": "1"}
    now = {"kernel/panic": "10", "kernel/panic_on_oops": "2", "vm/overcommit_memory": "1"}
    for name, value in now.items():
        setting(machine, name).parent.mkdir(parents=True, exist_ok=True)
        setting(machine, name).write_text(f"{value}\n")
    assert kernel.settings() == now
    assert kernel.restore(before) == ["kernel.panic from 10 to 0"]
    assert setting(machine, "kernel/panic").read_text() == "0"
    assert kernel.restore({}) == []
