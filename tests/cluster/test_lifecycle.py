"""The local cluster's own life: it is started again, its programs die, another checkout leaves one behind.

Runs behind the other tests, which follow each other; test_lifecycle_down.py then ends it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import host, layout, probe, remains, supervise, up
from tests.cluster import machine
from tests.cluster.access import DIRECT, ROOT
from tests.cluster.hub import TINY
from tests.cluster.namespaces import ENGINE, Cluster, make_namespace
from tests.cluster.pods import restricted_pod, runtime_image, wait_ended

MARKS = [
    pytest.mark.cluster,
    pytest.mark.lifecycle,
    pytest.mark.timeout(600),
    # supervisor's client leaves its socket to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
pytestmark = MARKS
HEAL_S = 60
GUESTS = {"hub", "metrics-server"}


def command(verb: str, *options: str, checkout: Path = ROOT, status: int = 0) -> str:
    """Run the cluster's command line of a checkout; what it said."""
    line = [sys.executable, str(checkout / "hack/cluster/cluster.py"), verb, *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=400, cwd="/")
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def programs() -> dict[str, int]:
    """Process id of each program of the cluster that runs."""
    return {
        str(info["name"]): int(info["pid"])
        for info in supervise.api().getAllProcessInfo()
        if info["statename"] == "RUNNING"
    }


def until_all_run(before: dict[str, int], killed: str) -> None:
    """Wait until all programs run again, the killed one as another process."""
    limit = time.monotonic() + HEAL_S
    while (now := programs()).keys() != before.keys() or now[killed] == before[killed]:
        assert time.monotonic() < limit, (now, before)
        time.sleep(0.1)


@pytest.fixture(scope="module")
def making(installed: None) -> Cluster:
    """A model on its way; method none spares the stages of a level, which are other tests' matter.

    Nobody deletes its namespace: the whole cluster goes.
    """
    cluster = make_namespace("lifecycle")
    cluster.model("tiny", TINY, optimize={"method": "none"})
    return cluster


@pytest.fixture(scope="module")
def model(making: Cluster) -> Cluster:
    """The same, served: its pod has to live through what happens to the cluster's programs."""
    making.wait_ready("tiny")
    return making


def answers(cluster: Cluster) -> bool:
    """The model's pod is asked by way of its Service."""
    with DIRECT.open(f"{cluster.endpoint('tiny')}/v1/models", timeout=30) as response:
        return bool(response.status == 200)


def containers(cluster: Cluster) -> set[tuple[str, int]]:
    """Container and restarts of each engine pod that is ready."""
    statuses = [
        status for pod in cluster.engines("tiny") for status in pod["status"].get("containerStatuses", [])
    ]
    return {(status["containerID"], status["restartCount"]) for status in statuses if status["ready"]}


def test_everything_listens_on_loopback_or_on_the_cluster_s_own_addresses(making: Cluster) -> None:
    assert machine.strange_sockets() == []


def test_up_again_changes_nothing(model: Cluster) -> None:
    before, pods = programs(), containers(model)
    assert before.keys() >= {*up.PROGRAMS, *GUESTS}
    for _ in range(2):
        command("up")
        assert programs() == before
    assert containers(model) == pods
    assert answers(model)


def test_every_killed_program_is_started_again_and_pods_live_on(model: Cluster) -> None:
    pods = containers(model)
    for name in programs():
        before = programs()
        os.kill(before[name], signal.SIGKILL)
        until_all_run(before, name)
    model.wait("all of them to be ready", all_ready, HEAL_S)
    command("status")
    assert containers(model) == pods
    assert answers(model)


def all_ready() -> bool:
    """Every program of the cluster, and the hub, says that it is ready."""
    files = up.plan(metrics=True)
    client = probe.Client(files.pki)
    urls = [program.ready for program in up.programs(files, metrics=True) if program.ready]
    hub = "http://{}:{}/api/models/slipway-test/tiny".format(*layout.HUB)
    return len(urls) > 6 and all(client.ready(url) for url in [*urls, hub])


def test_a_killed_supervisor_is_healed_and_pods_live_on(model: Cluster) -> None:
    before, pods = programs(), containers(model)
    os.kill(supervise.pid(), signal.SIGKILL)
    assert "supervisord is gone" in command("up")
    until_all_run(before, "kubelet")
    assert containers(model) == pods
    assert answers(model)


def test_after_all_that_pods_volumes_and_names_still_come(model: Cluster) -> None:
    pods = containers(model)
    model.kubectl("delete", "pods", "-l", ENGINE, "--wait=false")
    model.apply(claim(), writer(runtime_image(), model.namespace))
    assert wait_ended(model, "writer") == "Succeeded"
    model.wait("a new engine pod", lambda: (now := containers(model)) and not now & pods, 120)
    assert answers(model)


def claim() -> dict[str, Any]:
    """A claim of the default class, which only a pod has made."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "new"}, "spec": spec}


def writer(image: str, namespace: str) -> dict[str, Any]:
    """A pod that writes into the claim, and asks the model by its name."""
    url = f"http://tiny.{namespace}.svc.cluster.local:8080/v1/models"
    code = (
        f"import urllib.request; open('/new/mark', 'w').close(); urllib.request.urlopen('{url}', timeout=30)"
    )
    pod = restricted_pod("writer", image, "python3", "-c", code)
    spec = pod["spec"]
    spec["securityContext"]["fsGroup"] = 65532
    spec["volumes"] = [{"name": "new", "persistentVolumeClaim": {"claimName": "new"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "new", "mountPath": "/new"}]
    return pod


def test_what_a_dead_checkout_left_is_taken_over(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(ROOT / "hack", foreign / "hack", ignore=shutil.ignore_patterns("__pycache__"))
    (foreign / ".venv").symlink_to(ROOT / ".venv")
    command("up", checkout=foreign)
    assert {process.mark for process in host.marked(layout.MARK)} == {str(foreign)}
    os.kill(supervise.pid(), signal.SIGKILL)
    shutil.rmtree(foreign)
    said = command("up")
    assert str(foreign) in said
    assert {process.mark for process in host.marked(layout.MARK)} == {str(ROOT)}
    owner = remains.read_owner()
    assert owner
    assert owner.ours
    assert json.loads(Cluster("default").kubectl("get", "nodes", "-o", "json"))["items"]
