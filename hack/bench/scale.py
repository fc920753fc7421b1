"""1,000 ModelDeployments on a bare control plane: first children, restart, writes, memory, failover."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from hack.bench.figures import Figure
from hack.bench.operator_process import ROOT, OperatorProcess
from hack.cluster.controlplane import ControlPlane

COUNT = 1000
RATE_GOAL = 50.0
RESTART_GOAL_S = 5.0
RSS_GOAL_MIB = 150.0
FAILOVER_GOAL_S = 5.0
ESTABLISHED_S = 60
ELECTED_S = 60
MDL = "/apis/slipway.dev/v1alpha1/namespaces/default/modeldeployments"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
WRITES = "slipway_api_writes_total"
PASSES = "slipway_reconcile_duration_seconds_count"


def measure() -> list[Figure]:
    """All figures of this file, in one control plane."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as place:
        folder = Path(place)
        with ControlPlane(folder / "cluster", controller_manager=True) as cluster:
            install_crds(cluster.kubeconfig)
            figures = first_children(cluster, folder)
            figures += restart(cluster, folder)
            figures.append(failover(cluster, folder))
            return figures


def install_crds(kubeconfig: Path) -> None:
    """Apply crds/ and wait until they serve."""
    kubectl = [str(ROOT / ".venv/bin/kubectl"), "--kubeconfig", str(kubeconfig)]
    subprocess.run(
        [*kubectl, "apply", "--server-side", "-f", str(ROOT / "crds")], check=True, capture_output=True
    )
    # "kubectl wait" would fail on a CRD that has no conditions yet.
    deadline = time.monotonic() + ESTABLISHED_S
    while subprocess.run([*kubectl, "get", "mdl,mart"], check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the API server does not serve the CRDs after {ESTABLISHED_S} s")
        time.sleep(0.2)


def deployment(name: str) -> dict[str, Any]:
    """The smallest ModelDeployment."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": {"source": "hf://bench/model"}},
    }


def post(cluster: ControlPlane, body: dict[str, Any]) -> None:
    """Create one ModelDeployment; OSError when the API server refuses."""
    status, answer = cluster.client.request(
        "POST", f"{cluster.url}{MDL}", json.dumps(body).encode(), timeout=30
    )
    if status != http.client.CREATED:
        raise OSError(f"create {body['metadata']['name']}: {status} {answer[:300].decode()}")


def jobs(cluster: ControlPlane) -> int:
    """How many Jobs there are."""
    listed = cluster.client.get(f"{cluster.url}{JOBS}?limit=1")
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def first_children(cluster: ControlPlane, folder: Path) -> list[Figure]:
    """Create them all, start the operator, wait for each one's first Job."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: post(cluster, deployment(f"m{i}")), range(COUNT)))
    with OperatorProcess(cluster.kubeconfig, folder / "first.log") as operator:
        while jobs(cluster) == 0:
            time.sleep(0.02)
        start = time.monotonic()
        while (made := jobs(cluster)) < COUNT:
            if time.monotonic() - start > 300:  # noqa: PLR2004 - seconds, a bound on a hang
                raise TimeoutError(f"{made} of {COUNT} first Jobs after 300 s")
            time.sleep(0.25)  # each look costs the API server a TLS handshake
        rate = COUNT / (time.monotonic() - start)
        settle(operator)
        rss = operator.rss_mib()
    return [
        Figure(
            f"{COUNT} objects to all first children",
            f"{rate:.0f} objects/s",
            f">= {RATE_GOAL:.0f}",
            rate >= RATE_GOAL,
        ),
        Figure(
            f"operator RSS with {COUNT} objects",
            f"{rss:.0f} MiB",
            f"<= {RSS_GOAL_MIB:.0f}",
            rss <= RSS_GOAL_MIB,
        ),
    ]


def settle(operator: OperatorProcess) -> None:
    """Wait until no write happened for 3 s."""
    last, since = operator.metric(WRITES), time.monotonic()
    while time.monotonic() - since < 3:  # noqa: PLR2004 - seconds of quiet
        now = operator.metric(WRITES)
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.1)


def restart(cluster: ControlPlane, folder: Path) -> list[Figure]:
    """Start anew with everything settled: seconds until every object had a pass, and writes."""
    with OperatorProcess(cluster.kubeconfig, folder / "restart.log") as operator:
        seconds = operator.wait_metric(PASSES, COUNT, 120)
        settle(operator)
        writes = operator.metric(WRITES)
        passes = operator.metric(PASSES)
    return [
        Figure(
            f"restart with {COUNT} settled, process start to in sync",
            f"{seconds:.1f} s",
            "<= 5 s",
            seconds <= RESTART_GOAL_S,
        ),
        Figure(f"API writes of {passes:.0f} settled passes", f"{writes:.0f}", "0", writes == 0),
    ]


def elected(first: OperatorProcess, second: OperatorProcess) -> tuple[OperatorProcess, OperatorProcess]:
    """The leader and the other, as soon as there is one; TimeoutError when there is none."""
    deadline = time.monotonic() + ELECTED_S
    while time.monotonic() < deadline:
        for leader, other in ((first, second), (second, first)):
            if leader.metric("slipway_leader") == 1:
                return leader, other
        time.sleep(0.1)
    raise TimeoutError(f"neither of two replicas led after {ELECTED_S} s")


def failover(cluster: ControlPlane, folder: Path) -> Figure:
    """Kill the leader of two; seconds until the other made a new object's first Job; twice nothing."""
    with (
        OperatorProcess(cluster.kubeconfig, folder / "a.log", elect=True, name="a") as first,
        OperatorProcess(cluster.kubeconfig, folder / "b.log", elect=True, name="b") as second,
    ):
        leader, other = elected(first, second)
        other.wait_metric("slipway_cached_objects", COUNT, 60)
        before = jobs(cluster)
        leader.kill()
        start = time.monotonic()
        post(cluster, deployment("late"))
        while jobs(cluster) == before:
            if time.monotonic() - start > 60:  # noqa: PLR2004 - seconds, a bound on a hang
                raise TimeoutError("the other replica did not take over in 60 s")
            time.sleep(0.02)
        seconds = time.monotonic() - start
        time.sleep(2)
        twice = jobs(cluster) - before - 1
    met = seconds <= FAILOVER_GOAL_S and twice == 0
    return Figure(
        "leader killed to the other's first Job", f"{seconds:.1f} s, {twice} made twice", "<= 5 s, 0", met
    )
