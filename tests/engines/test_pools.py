"""Pools on the cluster: one URL before two of them, a pool that runs out of nodes, and gets one back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster import layout
from tests.cluster.hub import TINY
from tests.cluster.namespaces import Cluster, own_namespace
from tests.engines.asking import asked, endpoint

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
LABEL = "slipway-test/pool"
ENGINE = {"contextLength": 512, "concurrency": 1}
POOLS = [{"name": "a", "nodeSelector": {LABEL: "a"}}, {"name": "b", "optimize": {"level": "Q4_0"}}]
HELLO = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


def label(value: str) -> None:
    """The node belongs to pool a, or not (``-``)."""
    Cluster("").kubectl("label", "node", layout.NODE_NAME, f"{LABEL}{value}", "--overwrite", namespaced=False)


@pytest.fixture
def home() -> Iterator[Cluster]:
    """A namespace of this test's own; the node is in pool a."""
    label("=a")
    try:
        with own_namespace("pools") as made:
            yield made
    finally:
        label("-")


def dealt(home: Cluster) -> dict[str, tuple[int, int]]:
    """Pool to its replicas, given and answering."""
    pools: list[dict[str, Any]] = home.mdl("chat")["status"].get("pools", [])
    return {one["name"]: (one["replicas"], one["readyReplicas"]) for one in pools}


@pytest.mark.timeout(1200)
def test_a_pool_without_a_node_spills_and_comes_back(home: Cluster) -> None:
    home.model(
        "chat", TINY, pools=POOLS, engine=ENGINE, optimize={"level": "Q8_0"},
        store={"accessMode": "ReadWriteMany"},
    )  # fmt: skip
    home.wait_ready("chat", 600)
    assert dealt(home) == {"a": (1, 1), "b": (0, 0)}
    assert {home.mdl(f"chat-{pool}")["status"]["plan"]["level"] for pool in "ab"} == {"Q8_0", "Q4_0"}
    fetched = [job for job in home.list("jobs") if "-fetch-" in job["metadata"]["name"]]
    assert len(fetched) == 1
    base = endpoint(home, "chat")
    assert asked(base, HELLO)["model"] == "chat"

    label("-")
    home.kubectl("scale", "mdl/chat", "--replicas=2")
    home.wait("the overflow", lambda: dealt(home) == {"a": (1, 1), "b": (1, 1)}, 420)
    spilled = home.condition("chat", "Spilled")
    assert (spilled["status"], spilled["reason"]) == ("True", "PoolFull")
    assert "no room in pool a" in spilled["message"]
    home.wait_true("chat", "Ready")
    pods = home.list("pods", "slipway.dev/pool-of=chat")
    assert {pod["metadata"]["labels"]["slipway.dev/pool"] for pod in pods} == {"a", "b"}
    for _ in range(8):  # both pools serve the one name
        assert asked(base, HELLO)["usage"]["completion_tokens"] > 0

    label("=a")
    home.wait("pool a has all again", lambda: dealt(home) == {"a": (2, 2), "b": (0, 0)}, 300)
    assert home.condition("chat", "Spilled")["status"] == "False"


@pytest.mark.timeout(600)
def test_a_pool_whose_nodes_are_not_there_holds_nobody_up(home: Cluster) -> None:
    h100 = {"name": "h100", "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}}
    home.model(
        "chat", TINY, pools=[h100, {"name": "b"}], engine=ENGINE, optimize={"level": "Q8_0"},
        store={"accessMode": "ReadWriteMany"},
    )  # fmt: skip
    home.wait_ready("chat", 300)
    assert dealt(home) == {"h100": (0, 0), "b": (1, 1)}
    spilled = home.condition("chat", "Spilled")
    assert (spilled["status"], "nodeSelector wants nvidia.com/gpu.product" in spilled["message"]) == (
        "True",
        True,
    )
    assert asked(endpoint(home, "chat"), HELLO)["model"] == "chat"
