"""Where a module's manifests are found, and what the tests make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import pki, sources, tools
from tests.support import kwok, lws
from tests.support.gpu_nodes import gpu_node

GO = """#!/bin/sh
[ "$1" = env ] && { echo go1.26.6; exit; }
[ -n "$FAKE_FAIL" ] && { echo "403 Forbidden" >&2; exit 1; }
echo "{\\"Path\\": \\"$4\\", \\"Dir\\": \\"/modules/$4\\"}"
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "path" / "go"
    fake.parent.mkdir()
    fake.write_text(GO)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")


def test_a_module_lies_where_go_says(go: None) -> None:
    assert sources.folder("sigs.k8s.io/lws", "lws") == Path("/modules/sigs.k8s.io/lws")


def test_a_module_that_is_not_served_says_so(go: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "1")
    with pytest.raises(tools.BuildError, match="403 Forbidden"):
        sources.folder("sigs.k8s.io/lws", "lws")


def test_webhooks_are_served_on_this_machine(tmp_path: Path) -> None:
    def hook(resource: str) -> dict[str, Any]:
        service = {"name": "webhook-service", "path": f"/mutate-{resource}"}
        return {"clientConfig": {"service": service}, "rules": [{"resources": [resource]}]}

    found = {"metadata": {"name": "mutating"}, "webhooks": [hook("pods"), hook("leaderworkersets")]}
    manifests = tmp_path / "config/webhook/manifests.yaml"
    manifests.parent.mkdir(parents=True)
    manifests.write_text(yaml.safe_dump(found))
    (made,) = lws.webhooks(tmp_path, 9443, pki.authority(tmp_path, "ca").cert)
    pods, sets = made["webhooks"]
    assert made["metadata"]["name"] == "lws-mutating"
    assert pods["clientConfig"]["url"] == "https://127.0.0.1:9443/mutate-pods"
    assert "service" not in pods["clientConfig"]
    assert pods["objectSelector"] == lws.OF_A_SET  # or a stopped LWS would keep every pod from starting
    assert "objectSelector" not in sets


@pytest.mark.parametrize(
    ("kind", "taints"),
    [
        ("h100", {"nvidia.com/gpu=present"}),
        ("rtx-4090", {"nvidia.com/gpu=present"}),
        ("mi210", {"amd.com/gpu=present"}),
        ("raspberry-pi-4", {"kwok.x-k8s.io/node=fake"}),
    ],
)
def test_a_fake_node_takes_no_pod_that_did_not_ask(kind: str, taints: set[str]) -> None:
    node = kwok.faked(gpu_node(kind))
    assert {f"{one['key']}={one['value']}" for one in node["spec"]["taints"]} == taints
    assert node["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert "conditions" not in node["status"]
    assert "conditions" in gpu_node(kind)["status"]
