"""The local cluster's own life: programs die, another checkout leaves one behind, it ends without a trace.

Runs last: the tests follow each other, and no cluster is left.
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

import pytest

from hack.cluster import host, layout, remains, supervise
from tests.cluster.conftest import DIRECT, ROOT, Cluster, make_namespace

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.lifecycle,
    pytest.mark.timeout(600),
    # supervisor's client leaves its socket to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
NODE = Cluster("default")


def command(verb: str, *options: str, checkout: Path = ROOT) -> str:
    """Run the cluster's command line of a checkout; what it said."""
    line = [sys.executable, str(checkout / "hack/cluster/cluster.py"), verb, *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=400, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def programs() -> dict[str, int]:
    """Process id of each program of the cluster that runs."""
    return {
        str(info["name"]): int(info["pid"])
        for info in supervise.api().getAllProcessInfo()
        if info["statename"] == "RUNNING"
    }


def until_all_run(before: dict[str, int], killed: str) -> None:
    """Wait until all programs run again, the killed one as another process."""
    limit = time.monotonic() + 60
    while (now := programs()).keys() != before.keys() or now[killed] == before[killed]:
        assert time.monotonic() < limit, (now, before)
        time.sleep(0.2)


@pytest.fixture(scope="module")
def model(installed: None) -> Cluster:
    """A served model: its pod has to live through what happens to the cluster's programs.

    Nobody deletes its namespace: the whole cluster goes.
    """
    cluster = make_namespace("lifecycle")
    cluster.model("tiny", "hf://slipway-test/tiny")
    cluster.wait_ready("tiny")
    return cluster


def answers(cluster: Cluster) -> bool:
    """The model's pod is asked by way of its Service."""
    with DIRECT.open(f"{cluster.endpoint('tiny')}/health", timeout=30) as response:
        return bool(response.status == 200)


def containers(cluster: Cluster) -> set[tuple[str, int]]:
    """Container and restarts of each engine pod that is ready."""
    pods = cluster.list("pods", "app.kubernetes.io/component=engine")
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", [])]
    return {(status["containerID"], status["restartCount"]) for status in statuses if status["ready"]}


def test_up_again_changes_nothing(model: Cluster) -> None:
    before, pods = programs(), containers(model)
    for _ in range(2):
        command("up")
        assert programs() == before
    assert containers(model) == pods
    assert answers(model)


def test_a_killed_kubelet_and_a_killed_supervisor_are_healed_and_pods_live_on(model: Cluster) -> None:
    before, pods = programs(), containers(model)
    os.kill(before["kubelet"], signal.SIGKILL)
    until_all_run(before, "kubelet")
    os.kill(supervise.pid(), signal.SIGKILL)
    said = command("up")
    assert "supervisord is gone" in said
    until_all_run(before, "kubelet")
    assert containers(model) == pods
    assert answers(model)
    model.kubectl("delete", "pods", "-l", "app.kubernetes.io/component=engine")
    model.wait("a new pod", lambda: (now := containers(model)) and not now & pods, 120)
    assert answers(model)


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
    assert json.loads(NODE.kubectl("get", "nodes", "-o", "json"))["items"]


def output(*line: str) -> str:
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def traces() -> dict[str, list[str]]:
    """What a cluster has on the machine, by kind; looked at without the code that ends it."""
    processes = [p for p in Path("/proc").glob("[0-9]*") if carries(p)]
    return {
        "processes": [str(process) for process in processes],
        "mounts": list(map(str, host.mounts([layout.STATE, layout.RUN]))),
        "links": [line for line in output("ip", "-o", "link").splitlines() if "slipway" in line],
        "routes": [line for line in output("ip", "route").splitlines() if "198.1" in line],
        "tables": [t for t in output("nft", "list", "tables").splitlines() if "slipway" in t or "kube" in t],
        "namespaces": [path.name for path in Path("/run/netns").glob("cni-*")],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob("**/slipway")],
        "files": [str(path) for path in (layout.STATE, layout.RUN) if path.exists()],
    }


def carries(process: Path) -> bool:
    """Whether the process has the cluster's mark, or is in one of its pods."""
    try:
        environment = (process / "environ").read_bytes()
        return layout.MARK.encode() in environment or "/slipway/" in (process / "cgroup").read_text()
    except OSError:
        return False


def test_down_leaves_nothing() -> None:
    found = traces()
    kinds = {"processes", "mounts", "links", "routes", "tables", "cgroups", "files"}
    assert kinds <= {kind for kind, what in found.items() if what}  # else the test looks in the wrong places
    command("down")
    assert {kind: what for kind, what in traces().items() if what} == {}
    assert not layout.KUBECONFIG.exists()
    assert "no cluster" in command("down")
