"""A real API server (etcd, kube-apiserver, controller-manager) with our CRDs, for one test session."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.controlplane import ControlPlane
from tests.support.operating import Cluster, a_node, connected, fresh_namespace

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = str(Path(sys.executable).with_name("kubectl"))
ESTABLISHED_SECONDS = 30


class Api:
    """kubectl against the session's API server."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def kubectl(self, *args: str, stdin: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl; returns exit code, stdout and stderr."""
        command = [KUBECTL, "--kubeconfig", str(self.plane.kubeconfig), *args]
        text = json.dumps(stdin) if stdin is not None else None
        return subprocess.run(command, capture_output=True, text=True, check=False, input=text, timeout=60)

    def must(self, *args: str, stdin: dict[str, Any] | None = None) -> str:
        """Run kubectl; returns stdout, fails with kubectl's own words."""
        done = self.kubectl(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane, CRDs of ``crds/`` established; ``kubeconfig`` and ``url`` say where."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), controller_manager=True) as plane:
        api = Api(plane)
        api.must("apply", "--server-side", "-f", str(ROOT / "crds"))
        deadline = time.monotonic() + ESTABLISHED_SECONDS
        # "kubectl wait" would fail on a CRD that has no conditions yet.
        while api.kubectl("get", "mdl,mart").returncode:
            assert time.monotonic() < deadline, "the API server does not serve the CRDs"
            time.sleep(0.2)
        yield plane


@pytest.fixture
def api(control_plane: ControlPlane) -> Api:
    """Kubectl against it."""
    return Api(control_plane)


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    """A namespace of this test's own, and a node to plan for."""
    async with connected(control_plane.kubeconfig) as kube:
        await a_node(kube)
        yield Cluster(kube, await fresh_namespace(kube))
