"""kill -9 of a stage's process and of the operator: the next try goes on, nothing half made is served."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.cluster.hub import TINY
from tests.cluster.namespaces import SYSTEM, Cluster, own_namespace, tries
from tests.cluster.operators import leader, replicas
from tests.cluster.stages import (
    Stage,
    artifact_of,
    asking,
    command,
    digests,
    in_work,
    kill_in_the_middle,
    loading,
    measuring,
    processes,
    publishing,
    work_begun,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
CHANCES = 2
"""A short stage may end before it can be killed: then again with a new namespace, so often."""
LEVEL = "Q4_K_M"
# In the order in which the pipeline comes to them; a download is killed in test_slow_hub.py.
STAGES: Mapping[str, Stage] = {
    "inspect": Stage("inspect", "", asking),
    "convert": Stage("convert", "F16", in_work),
    "evaluate": Stage("evaluate", "F16", measuring),
    "quantize": Stage("quantize", LEVEL, in_work),
    "publish": Stage("publish", LEVEL, publishing),
}
BENCHMARK = Stage("benchmark", "", loading)
JOBS = {
    *(("", "inspect"), ("source", "fetch"), ("F16", "convert"), ("F16", "evaluate"), ("F16", "publish")),
    *((LEVEL, "quantize"), (LEVEL, "evaluate"), (LEVEL, "publish"), ("", "benchmark")),
}
"""Every Job of one deployment, by level and stage."""


@dataclass(frozen=True)
class Wounded:
    """A deployment each of whose stages was killed once, but those that ended before."""

    cluster: Cluster
    killed: set[str]


@pytest.fixture(scope="module")
def wounded(building: Cluster) -> Iterator[Wounded]:
    """One pipeline for all stages: each is killed as it comes to its work."""
    with own_namespace("killed") as cluster:
        cluster.model("killed", TINY, optimize={"level": LEVEL})
        killed = {name for name, stage in STAGES.items() if kill_in_the_middle(cluster, "killed", stage)}
        yield Wounded(cluster, killed)


@pytest.mark.parametrize("name", STAGES)
def test_a_killed_stage_is_tried_again_and_the_result_is_whole(
    wounded: Wounded, undisturbed: dict[str, str], name: str
) -> None:
    if name in wounded.killed:
        whole(wounded.cluster, undisturbed, STAGES[name])
        return
    for _ in range(CHANCES):
        with own_namespace("killed") as cluster:
            cluster.model("killed", TINY, optimize={"level": LEVEL})
            if kill_in_the_middle(cluster, "killed", STAGES[name]):
                whole(cluster, undisturbed, STAGES[name])
                return
    pytest.fail(f"{name} ended {1 + CHANCES} times before it could be killed")


def whole(cluster: Cluster, undisturbed: dict[str, str], stage: Stage) -> None:
    """The killed stage was tried twice, and what came of it is the same as without a kill."""
    level = stage.level or LEVEL
    cluster.wait("the whole artifact", lambda: level in digests(cluster), 180)
    assert digests(cluster)[level] == undisturbed[level]
    subject = artifact_of(cluster, stage.level) if stage.level else "killed"
    assert tries(cluster)[subject, stage.name] == 2


def test_a_killed_benchmark_is_tried_again_and_nothing_else_is(wounded: Wounded) -> None:
    cluster = wounded.cluster
    assert kill_in_the_middle(cluster, "killed", BENCHMARK)
    mdl = cluster.wait_ready("killed", 60)  # it serves, with figures or without
    assert "levels" not in mdl["status"].get("benchmark", {})
    cluster.wait("the second try", lambda: tries(cluster)["killed", "benchmark"] == 2, 60)
    named = {artifact_of(cluster, level): level for level in ("source", "F16", LEVEL)}
    counts = {(named.get(of, ""), stage): number for (of, stage), number in tries(cluster).items()}
    twice = {(STAGES[name].level, name) for name in wounded.killed} | {("", "benchmark")}
    assert counts == {one: 1 + (one in twice) for one in JOBS}


def restarts() -> dict[str, int]:
    """How often each replica's container was started again, by the pod's uid."""
    return {
        pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in replicas()
    }


def test_operator_killed_in_the_middle_goes_on_and_makes_nothing_twice(cluster: Cluster) -> None:
    before = restarts()
    cluster.model("orphan", TINY, optimize={"method": "none"})
    stage = Stage("convert", "F16", in_work)
    _, process = work_begun(cluster, stage.selector(cluster, "orphan"), stage.due)
    assert process
    pids = [
        int(each.name) for pod in replicas() for each in processes(pod) if b"/slipway\0run" in command(each)
    ]
    assert len(pids) == len(before) >= 2
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert process.exists()  # they were killed while the Job was at work
    cluster.wait("their restart", lambda: restarts() == {uid: n + 1 for uid, n in before.items()}, 60)
    cluster.wait_ready("orphan", 300)
    jobs = {"inspect", "fetch", "convert", "evaluate", "publish", "benchmark"}
    assert {stage: count for (_, stage), count in tries(cluster).items()} == dict.fromkeys(jobs, 1)
    assert SYSTEM.wait("a leader", leader, 30)


def test_the_second_try_of_the_benchmark_gave_figures(wounded: Wounded) -> None:
    def levels() -> list[object]:
        return list(wounded.cluster.mdl("killed")["status"].get("benchmark", {}).get("levels", []))

    assert len(wounded.cluster.wait("the figures", levels, 180)) == 2
