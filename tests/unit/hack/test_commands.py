"""The command lines a person meets: clear refusals, before anything is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hack.cluster import cluster, host, kernel, layout, network, probe, remains, up

CHECKOUT = Path(layout.CHECKOUT)


def bootstrap(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}:/usr/bin:/bin", "SLIPWAY_CACHE": str(path.parent / "cache")}
    command = ["bash", str(CHECKOUT / "hack/bootstrap.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_another_system_is_told_about_its_own_cluster(tmp_path: Path) -> None:
    program(tmp_path / "bin", "uname", "echo Darwin")
    done = bootstrap(tmp_path / "bin")
    assert done.returncode == 1
    assert "needs Linux, this is Darwin" in done.stderr
    assert "make demo CONTEXT=name" in done.stderr


def test_missing_packages_are_named_to_whoever_is_not_root(tmp_path: Path) -> None:
    program(tmp_path / "bin", "dpkg-query", "exit 1")
    program(tmp_path / "bin", "id", "echo 1000")
    done = bootstrap(tmp_path / "bin")
    assert done.returncode == 1
    assert "etcd-server" in done.stderr
    assert "CONTEXT=name" in done.stderr


def test_the_cluster_needs_root_before_anything_is_looked_at(tmp_path: Path) -> None:
    program(tmp_path / "bin", "id", '[ "$1" = -un ] && echo ann || echo 1000')
    program(tmp_path / "bin", "dpkg-query", "echo asked >&2; exit 1")
    done = bootstrap(tmp_path / "bin", "cluster")
    assert done.returncode == 1
    assert "need root, you are ann" in done.stderr
    assert "CONTEXT=name" in done.stderr
    assert "asked" not in done.stderr


def down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkout: Path, *options: str) -> tuple[int, bool]:
    """Exit status of ``down`` on a cluster of that checkout, and whether anything was cleared."""
    cleared: list[object] = []
    monkeypatch.setattr(cluster, "usable", lambda: "")
    monkeypatch.setattr(cluster, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(layout, "KUBECONFIG", tmp_path / "kubeconfig")
    monkeypatch.setattr(remains, "read_owner", lambda: remains.Owner(str(checkout), "b", "s", "0"))
    monkeypatch.setattr(remains, "find", lambda: remains.Remains([], [], [], ["bridge"], []))
    monkeypatch.setattr(remains, "clear", lambda *each: cleared.append(each))
    return cluster.main(["down", *options]), bool(cleared)


def test_only_force_ends_the_cluster_of_another_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert down(monkeypatch, tmp_path, tmp_path) == (1, False)
    assert str(tmp_path) in capsys.readouterr().out
    assert down(monkeypatch, tmp_path, tmp_path, "--ours") == (0, False)
    assert capsys.readouterr().out == ""
    assert down(monkeypatch, tmp_path, tmp_path, "--force") == (0, True)


def test_the_cluster_of_a_checkout_that_is_gone_is_anybodys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert down(monkeypatch, tmp_path, tmp_path / "gone", "--ours") == (0, True)


def test_nobody_but_root_may_start_the_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cluster.main(["up"]) == 2
    said = capsys.readouterr().err
    assert "needs root" in said
    assert "CONTEXT=name" in said


def test_a_port_in_use_is_named_with_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    held = host.Listener("0.0.0.0", 6443, host.Process(os.getpid(), "k3s server"))  # noqa: S104
    monkeypatch.setattr(host, "listeners", lambda *_: [held])
    with pytest.raises(up.ClusterError, match=r"port 6443 .* for kube-apiserver, is in use by k3s server"):
        up.check_ports()


def test_the_clusters_own_listeners_are_no_clash(monkeypatch: pytest.MonkeyPatch) -> None:
    held = host.Listener(layout.NODE_IP, 6443, host.Process(1, "kube-apiserver"))
    monkeypatch.setattr(host, "listeners", lambda *_: [held])
    monkeypatch.setattr(host, "environment", lambda _: {layout.MARK: "/x"})
    up.check_ports()


def test_a_foreign_address_in_the_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "read_owner", lambda: None)
    monkeypatch.setattr(remains, "find", lambda: remains.Remains([], [], [], [], []))
    monkeypatch.setattr(network, "foreign_addresses", lambda: ["vpn0 has 198.18.7.7"])
    with pytest.raises(up.ClusterError, match=r"vpn0 has 198\.18\.7\.7"):
        up.own(print)


def test_what_another_checkout_left_is_named_and_cleared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left = remains.Remains([host.Process(7, "etcd", "/other")], [], [], [], [])
    cleared: list[object] = []
    monkeypatch.setattr(layout, "STATE", tmp_path)
    monkeypatch.setattr(layout, "OWNER", tmp_path / "owner.json")
    monkeypatch.setattr(remains, "read_owner", lambda: remains.Owner("/other", "b", "s", "0"))
    monkeypatch.setattr(remains, "find", lambda: left)
    monkeypatch.setattr(remains, "clear", lambda _found, owner, _say: cleared.append(owner.forwarding))
    monkeypatch.setattr(network, "foreign_addresses", list)
    monkeypatch.setattr(network, "forwarding", lambda: "0")
    monkeypatch.setattr(kernel, "settings", lambda: {"kernel/panic": "0"})
    said: list[str] = []
    up.own(said.append)
    assert cleared == ["0"]
    assert "the checkout /other" in said[0]
    monkeypatch.undo()
    monkeypatch.setattr(layout, "OWNER", tmp_path / "owner.json")
    owner = remains.read_owner()
    assert owner
    assert owner.ours
    assert (owner.forwarding, owner.kernel) == ("0", {"kernel/panic": "0"})


def test_a_half_ended_cluster_of_ours_is_ended_before_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    half = remains.Owner(str(layout.CHECKOUT), host.boot_id(), remains.ENDING, "0")
    left = remains.Remains([], [], [], [], [Path("/var/x")])
    done: list[object] = []
    monkeypatch.setattr(remains, "read_owner", lambda: half)
    monkeypatch.setattr(remains, "find", lambda: left)
    monkeypatch.setattr(remains, "clear", lambda found, owner, _say: done.append((found, owner)))
    monkeypatch.setattr(remains, "write_owner", done.append)
    monkeypatch.setattr(network, "foreign_addresses", list)
    said: list[str] = []
    up.own(said.append)
    assert done[0] == (left, half)
    assert isinstance(done[1], remains.Owner)
    assert done[1].shape == up.shape()
    assert "this checkout, half ended" in said[0]


def test_a_clusters_own_names_are_not_for_other_services() -> None:
    options = cluster.parser().parse_args(["service", "add", "kubelet"])
    options.command = ["true"]
    with pytest.raises(up.ClusterError, match="another name"):
        cluster.run_service(options)


def test_waiting_ends_with_what_was_waited_for_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("disk is full\n")
    with pytest.raises(probe.NotReadyError, match="disk is full") as caught:
        probe.wait("etcd", lambda: False, 0.05, lambda: probe.tail(log))
    assert "etcd was not ready" in str(caught.value)
    assert probe.wait("etcd", lambda: True, 1) < 1
