"""1,000 ModelDeployments on a bare control plane: first children, restart, writes, memory, failover."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import math
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from hack.bench.api_writes import written
from hack.bench.figures import Figure
from hack.bench.operator_process import ROOT, OperatorProcess
from hack.cluster import layout
from hack.cluster.controlplane import ControlPlane
from slipway import resources

COUNT = 1000
RATE_GOAL = 50.0
RESTART_GOAL_S = 5.0
PEAK_GOAL_MB = 150.0
FAILOVER_GOAL_S = 5.0
ESTABLISHED_S = 60
ELECTED_S = 60
CHILDREN_S = 300
SETTLED_S = 180
QUIET_S = 3.0
LOGS = layout.LOGS / "bench"
MDL = "/apis/slipway.dev/v1alpha1/namespaces/default/modeldeployments"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
WRITES = "slipway_api_writes_total"
PASSES = "slipway_reconcile_duration_seconds_count"
ERRORS = "slipway_reconcile_errors_total"


def measure() -> list[Figure]:
    """All figures of this file, in one control plane; the logs stay in .cluster/log/bench/."""
    shutil.rmtree(LOGS, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as place:
        phase("starting etcd, the API server and its controllers")
        with ControlPlane(Path(place), controller_manager=True, logs=LOGS) as cluster:
            install_crds(cluster.kubeconfig)
            first, first_peak = first_children(cluster)
            again, again_peak = restart(cluster)
            peak = max(first_peak, again_peak)
            memory = Figure(
                f"operator's peak memory (VmHWM) with {COUNT} objects, first run and restart",
                f"{peak:.0f} MB",
                f"<= {PEAK_GOAL_MB:.0f} MB",
                peak <= PEAK_GOAL_MB,
            )
            return [first, memory, *again, failover(cluster)]


def phase(what: str) -> None:
    """Say what is measured now."""
    print(f"  {what}", flush=True)


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


def first_children(cluster: ControlPlane) -> tuple[Figure, float]:
    """Create them all, start the operator, wait for each one's first Job; rate, and peak memory in MB.

    It counts from the moment at which the operator's caches are full and its workers begin, so that the first
    pass is in it, to the moment at which the API server lists the last Job.
    """
    phase(f"creating {COUNT} ModelDeployments")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: post(cluster, deployment(f"m{i}")), range(COUNT)))
    phase("starting the operator: all first Jobs")
    with OperatorProcess(cluster.kubeconfig, LOGS / "first.log") as operator:
        start = time.monotonic()
        operator.wait("caches", lambda: operator.synced_at() is not None, 60, pause=0.02)
        # Each look costs the API server a TLS handshake.
        operator.wait("first Jobs", lambda: jobs(cluster) >= COUNT, CHILDREN_S, pause=0.25)
        whole = time.monotonic() - start
        seconds = whole - (operator.synced_at() or 0.0)
        settle(operator)
        peak = operator.peak_mb()
    rate = COUNT / seconds
    return Figure(
        f"{COUNT} objects to all first children, from full caches on",
        f"{rate:.0f} objects/s ({seconds:.1f} s; {whole:.1f} s with the operator's start)",
        f">= {RATE_GOAL:.0f} objects/s",
        rate >= RATE_GOAL,
    ), peak


def settle(operator: OperatorProcess) -> None:
    """Wait until it has written nothing for 3 s."""
    last, since = math.nan, time.monotonic()

    def quiet() -> bool:
        nonlocal last, since
        now = operator.metric(WRITES)
        if now != last:  # NaN, no answer, is never quiet
            last, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_S

    operator.wait(f"{QUIET_S:.0f} s without a write", quiet, SETTLED_S)


def restart(cluster: ControlPlane) -> tuple[list[Figure], float]:
    """Start anew with everything settled: seconds to a pass of every object, writes; its peak memory in MB.

    The operator logs each pass here, which proves that each object had one: a count would not, for keys are
    enqueued by two watches.
    """
    phase(f"restarting the operator with {COUNT} settled objects")
    proof = {resources.MODEL: 2 * COUNT, resources.JOB: COUNT}  # created by us, status by it; its Jobs
    before = written(cluster, proof)
    wanted = {f"ModelDeployment/default/m{i}" for i in range(COUNT)}
    with OperatorProcess(cluster.kubeconfig, LOGS / "restart.log", level="debug") as operator:
        operator.wait("a pass of every object", lambda: wanted <= operator.first_passes().keys(), 120, 0.25)
        first = operator.first_passes()
        seconds = max(first[key] for key in wanted)
        settle(operator)
        passes, errors, peak = operator.metric(PASSES), operator.metric(ERRORS), operator.peak_mb()
    if errors:
        raise RuntimeError(
            f"{errors:.0f} of {passes:.0f} passes failed, so nothing is proven; {operator.log}"
        )
    writes = written(cluster, proof) - before
    return [
        Figure(
            f"restart with {COUNT} settled, process start until every object had a pass",
            f"{seconds:.1f} s",
            f"<= {RESTART_GOAL_S:.0f} s",
            seconds <= RESTART_GOAL_S,
        ),
        Figure(
            f"API writes of its {passes:.0f} settled passes, counted by the API server",
            str(writes),
            "0",
            writes == 0,
        ),
    ], peak


def elected(first: OperatorProcess, second: OperatorProcess) -> tuple[OperatorProcess, OperatorProcess]:
    """The leader and the other, as soon as there is one; TimeoutError when there is none."""
    first.wait(
        "a leader", lambda: 1 in (first.metric("slipway_leader"), second.metric("slipway_leader")), ELECTED_S
    )
    return (first, second) if first.metric("slipway_leader") == 1 else (second, first)


def failover(cluster: ControlPlane) -> Figure:
    """Kill the leader of two; seconds until the other made a new object's first Job; twice nothing."""
    phase("two replicas: killing the leader")
    with (
        OperatorProcess(cluster.kubeconfig, LOGS / "a.log", elect=True, name="a") as first,
        OperatorProcess(cluster.kubeconfig, LOGS / "b.log", elect=True, name="b") as second,
    ):
        leader, other = elected(first, second)
        other.wait("the other's caches", lambda: other.synced_at() is not None, 60)
        before = jobs(cluster)
        leader.kill()
        start = time.monotonic()
        post(cluster, deployment("late"))
        other.wait("the other's first Job", lambda: jobs(cluster) > before, 60, pause=0.02)
        seconds = time.monotonic() - start
        time.sleep(2)
        twice = jobs(cluster) - before - 1
    met = seconds <= FAILOVER_GOAL_S and twice == 0
    return Figure(
        "leader killed to the other's first Job", f"{seconds:.1f} s, {twice} made twice", "<= 5 s, 0", met
    )
