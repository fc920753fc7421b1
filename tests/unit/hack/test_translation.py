"""Others' errors and others' tables: supervisord's faults become words, only our own tables go."""

from __future__ import annotations

import xmlrpc.client

import pytest

from hack.cluster import network, supervise


def test_a_fault_of_supervisord_says_what_it_is_about() -> None:
    with pytest.raises(OSError, match=r"etcd: supervisord says SPAWN_ERROR"), supervise.translated("etcd"):
        raise xmlrpc.client.Fault(50, "SPAWN_ERROR: etcd")


def test_an_expected_fault_passes() -> None:
    with supervise.translated("etcd", "ALREADY_STARTED"):
        raise xmlrpc.client.Fault(60, "ALREADY_STARTED: etcd")


def test_an_answer_that_is_no_xml_rpc_is_an_os_error() -> None:
    with pytest.raises(OSError, match="etcd: supervisord does not speak"), supervise.translated("etcd"):
        raise xmlrpc.client.ProtocolError("socket", 500, "broken", {})


@pytest.mark.parametrize(
    ("there", "gone"),
    [
        ({("ip", "kube-proxy"), ("ip", "filter")}, []),
        ({("ip", "kube-proxy"), ("ip", network.TABLE)}, ["kube-proxy", network.TABLE]),
        ({("ip6", "kube-proxy"), ("inet", network.TABLE)}, []),
    ],
)
def test_kube_proxys_tables_go_only_beside_ours(
    monkeypatch: pytest.MonkeyPatch, there: set[tuple[str, str]], gone: list[str]
) -> None:
    deleted: list[str] = []

    def run(*command: str, text: str | None = None) -> str:
        deleted.append(command[-1])
        return ""

    monkeypatch.setattr(network, "_run", run)
    monkeypatch.setattr(network, "tables", lambda: there)
    monkeypatch.setattr(network, "bridge", lambda: None)
    network.down()
    assert deleted == gone
