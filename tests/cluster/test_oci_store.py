"""What is served lies in a registry as an image that the node mounts; who comes later builds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster import layout
from tests.cluster.access import DIRECT
from tests.cluster.hub import TINY
from tests.cluster.namespaces import Cluster, own_namespace, tries
from tests.support.registry_server import RegistryServer, registry_server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ADDRESS = "{}:{}".format(*layout.REGISTRY)
STORE = {"type": "oci", "repository": f"{ADDRESS}/models"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry_server(tmp_path_factory.mktemp("registry"), address=ADDRESS) as served:
        yield served


def served_from(cluster: Cluster, name: str) -> dict[str, Any]:
    """Wait until the model answers; returns the artifact that its pods mount."""
    cluster.wait_true(name, "Available", 300)
    (pod,) = cluster.engines(name)
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "model"]
    found = cluster.mdl(name)["status"]["artifacts"][-1]["name"]
    artifact = cluster.get("mart", found)
    assert volume["image"]["reference"] == artifact["status"]["location"]["image"]
    with DIRECT.open(f"{cluster.endpoint(name)}/health", timeout=30) as answer:
        assert answer.status == 200
    return artifact


def test_a_model_is_pushed_once_and_found_by_the_next(cluster: Cluster, registry: RegistryServer) -> None:
    cluster.model("first", TINY, store=STORE)
    made = served_from(cluster, "first")
    assert made["status"]["completed"] == ["recall", "quantize", "evaluate", "publish", "push"]
    assert made["status"]["quality"]["loss"].endswith("%")
    uploads = [one for one in registry.sent() if one[0] == "PUT"]
    assert uploads
    with own_namespace("next") as other:
        other.model("second", TINY, store=STORE)
        found = served_from(other, "second")
        assert found["metadata"]["name"] == made["metadata"]["name"]
        assert found["status"]["location"] == {"image": made["status"]["location"]["image"]}
        for kept in ("digest", "sizeBytes", "quality"):
            assert found["status"][kept] == made["status"][kept]
        stages = {stage for _, stage in tries(other)}
        assert stages <= {"inspect", "recall", "benchmark"}, "nothing is fetched, nothing is made"
        assert not other.list("pvc")
        other.wait_ready("second", 300)
    assert [one for one in registry.sent() if one[0] == "PUT"] == uploads
