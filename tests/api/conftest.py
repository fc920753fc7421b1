"""What the tests share: one API server for each process of the test run, a namespace for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hack.cluster.controlplane import ControlPlane
from tests.support.cluster import Cluster
from tests.support.control_plane import Api, running_plane
from tests.support.operating import a_node, connected, fresh_namespace

QUICK = ("test_health.py", "test_crds.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests last: with several processes, they fill the time that one of them still needs."""
    folder = Path(__file__).parent
    items.sort(key=lambda item: item.path.parent == folder and item.path.name in QUICK)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The API server of this process."""
    with running_plane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Api:
    """Kubectl against it."""
    return Api(control_plane)


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    """A namespace of this test's own, and a node to plan for."""
    async with connected(control_plane.kubeconfig) as kube:
        await a_node(kube)
        cluster = Cluster(kube, await fresh_namespace(kube))
        yield cluster
        await cluster.clear()  # an operator of all namespaces, in a later test, has nothing to do with them
