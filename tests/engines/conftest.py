"""What the tests of engines stand on, for a whole run: both take their time to come and to go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hack.cluster import layout
from tests.cluster.namespaces import Cluster, own_namespace
from tests.support.kwok import kwok
from tests.support.lws import lws_controller

EVERYWHERE = Cluster("")


@pytest.fixture
def home() -> Iterator[Cluster]:
    """A namespace of this test's own, without models again after it: engines are large."""
    with own_namespace("engines") as made:
        yield made
        made.kubectl("delete", "mdl", "--all", "--wait=true", "--timeout=120s")
        made.kubectl("wait", "pods", "--all", "--for=delete", "--timeout=120s", check=False)


@pytest.fixture(scope="session")
def fake_kubelet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nodes of ``fake_nodes`` get ready and run pods."""
    with kwok(tmp_path_factory.mktemp("kwok")):
        yield
    assert [node["metadata"]["name"] for node in EVERYWHERE.list("nodes")] == [layout.NODE_NAME]


@pytest.fixture(scope="session")
def lws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """LeaderWorkerSets work. Its end leaves nothing."""
    with lws_controller(tmp_path_factory.mktemp("lws")):
        yield
    kinds = "crd,mutatingwebhookconfigurations,validatingwebhookconfigurations"
    left = EVERYWHERE.kubectl("get", kinds, "-o", "name", namespaced=False)
    assert "lws" not in left
    assert "leaderworkerset" not in left
