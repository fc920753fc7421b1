"""The installed operator and what several tests look at: the demo's model, and a small model's artifacts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import access
from tests.cluster.access import ROOT
from tests.cluster.hub import TINY, hub_admin
from tests.cluster.namespaces import SYSTEM, Cluster, own_namespace
from tests.cluster.stages import digests

EARLY = ("demo", "building")
"""Fixtures that only start something: pods work while the first tests run, and later tests wait for them."""
DEMO_S = 420
DEMO = (sys.executable, "-u", str(ROOT / "hack/demo/demo.py"))


@pytest.fixture(scope="session")
def installed() -> None:
    """The operator is up, and nothing is left of tests that were killed; else say how to get there."""
    if not all(Path(part).exists() for part in access.kubeconfig().split(os.pathsep)):
        pytest.fail("no cluster: run 'make test', or 'make cluster images' and hack/demo/install.py first")
    with suppress(*((OSError,) if access.verifying() else ())):  # another cluster has its own hub
        hub_admin("DELETE", "/faults")
    leftovers = ["delete", "namespace", "-l", "slipway-test=true", "--wait=true", "--timeout=240s"]
    SYSTEM.kubectl(*leftovers, namespaced=False)
    SYSTEM.kubectl("rollout", "status", "deploy/slipway", "--timeout=120s")


@pytest.fixture(scope="session", autouse=True)
def started(request: pytest.FixtureRequest) -> None:
    """What is slow and wanted by a test of this run is under way before the first of them."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in EARLY:
        if name in wanted:
            request.getfixturevalue(name)


@pytest.fixture
def cluster(installed: None) -> Iterator[Cluster]:
    """A namespace of this test's own."""
    with own_namespace("test") as made:
        yield made


@dataclass(frozen=True)
class Demo:
    """The last step of ``make demo`` at work, and what it has said."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """All that a person would have read once it has ended well."""
        code = self.process.wait(DEMO_S)
        text = self.log.read_text()
        assert code == 0, text
        return text


@pytest.fixture(scope="session")
def demo(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo as a user runs it, from nothing: what an earlier one left is removed before."""
    home = Cluster("slipway-demo")
    # The pods first: with pods left, a namespace is looked at again after half of their grace, minutes later.
    home.kubectl("delete", "mdl", "--all")
    home.kubectl("wait", "pods", "--all", "--for=delete", "--timeout=120s", check=False)
    remove = ["delete", "namespace", home.namespace, "--ignore-not-found", "--timeout=120s"]
    home.kubectl(*remove, namespaced=False)
    log = tmp_path_factory.mktemp("demo") / "said.log"
    with log.open("wb") as out, subprocess.Popen(DEMO, cwd=ROOT, stdout=out, stderr=out) as process:
        try:
            yield Demo(process, log)
        finally:
            process.kill()
    home.kubectl(*remove, "--wait=false", namespaced=False)


@pytest.fixture(scope="session")
def served(demo: Demo) -> Cluster:
    """The namespace of the demo, which serves its example; shared by the tests that only look at it."""
    demo.said()
    return Cluster("slipway-demo")


@pytest.fixture(scope="session")
def building(installed: None) -> Iterator[Cluster]:
    """A namespace in which a small model's artifacts are being made; no pod serves them."""
    with own_namespace("built") as made:
        made.model("base", TINY, optimize={"level": "Q4_K_M"}, replicas=0)
        yield made


@pytest.fixture(scope="session")
def undisturbed(building: Cluster) -> dict[str, str]:
    """Digests by level of the small model's artifacts, made while nobody killed anything."""
    levels = {"source", "F16", "Q4_K_M"}
    building.wait("the small model's artifacts", lambda: digests(building).keys() == levels, 300)
    return digests(building)


@pytest.fixture(scope="session")
def built(building: Cluster, undisturbed: dict[str, str]) -> Cluster:
    """The namespace of these artifacts: another deployment of that model is served at once."""
    return building
