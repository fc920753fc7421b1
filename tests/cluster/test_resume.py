"""kill -9 of a Job's process and of the operator: the next try goes on, nothing half made is served."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.conftest import SMOLLM2, Cluster, hub_admin, hub_fault, own_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
MARTS = "modelartifacts.slipway.dev"
TINY = "hf://slipway-test/tiny"
FETCHED = 100_000_000
"""Bytes of the download that are on the disk when it is killed."""
BUFFERED = 60_000_000
"""Bytes at most that were sent and lost by the kill, or read to inspect the model."""
CHANCES = 3
"""A short stage may end before it can be killed: then once more with a new namespace."""
KILLED = 137


def in_work(store: Path) -> bool:
    """The tool has begun to write its file."""
    return any(path.stat().st_size for path in store.glob("work/.model.gguf.tmp"))


def half_fetched(store: Path) -> bool:
    return sum(path.stat().st_size for path in store.glob("partial/*.part")) > FETCHED


def measuring(store: Path) -> bool:
    """llama-perplexity runs: it has nothing but the file that it reads open."""
    return any(b"llama-perplexity" in command for command in commands(store.parents[1]))


def publishing(store: Path) -> bool:
    return (store / ".publishing").is_dir()


@dataclass(frozen=True)
class Case:
    """A stage to kill: on the way to which level, and when it is in the middle of its work."""

    level: str
    due: Callable[[Path], bool]


STAGES: Mapping[str, Case] = {
    "convert": Case("F16", in_work),
    "quantize": Case("Q4_K_M", in_work),
    "evaluate": Case("Q4_K_M", measuring),
    "publish": Case("Q4_K_M", publishing),
}


def commands(process: Path) -> list[bytes]:
    """Command lines of everything in the process's container."""
    group, found = (process / "cgroup").read_text(), []
    for other in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (other / "cgroup").read_text() == group:
                found.append((other / "cmdline").read_bytes())
    return found


def running(stage: str) -> list[Path]:
    """The stage's processes on this node, whosever they are, as folders of /proc."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if stage.encode() in arguments and any(a.endswith(b"/slipway-runtime") for a in arguments):
                found.append(process)
    return found


def pod_of(cluster: Cluster, process: Path, artifact: str) -> str:
    """Name of the pod that the process is in, if it is one of the artifact's; else empty.

    The process stands still meanwhile, so that a short stage is not over before it is killed.
    """
    pid = int(process.name)
    os.kill(pid, signal.SIGSTOP)
    try:
        group = re.sub("[-_]", "", (process / "cgroup").read_text())
        for pod in cluster.list("pods", f"slipway.dev/artifact={artifact}"):
            if pod["metadata"]["uid"].replace("-", "") in group:
                return str(pod["metadata"]["name"])
        return ""
    finally:
        os.kill(pid, signal.SIGCONT)


def artifact_of(cluster: Cluster, level: str) -> str:
    """Name of the artifact, once it exists."""

    def named() -> str:
        found = [a for a in cluster.list(MARTS) if a["spec"]["recipe"].get("level", "source") == level]
        return str(found[0]["metadata"]["name"]) if found else ""

    return str(cluster.wait(f"the artifact {level}", named, 120))


def kill_in_the_middle(cluster: Cluster, stage: str, case: Case) -> bool:
    """Kill the stage with signal 9 while it works; False when it ended before."""
    artifact = artifact_of(cluster, case.level)
    pods: dict[Path, str] = {}
    limit = time.monotonic() + 180
    while time.monotonic() < limit:
        for process in running(stage):
            with suppress(ProcessLookupError, FileNotFoundError):  # it ended meanwhile: look again
                if process not in pods:
                    pods[process] = pod_of(cluster, process, artifact)
                if pods[process] and case.due(process / "root/store"):
                    os.kill(int(process.name), signal.SIGKILL)
                    return exit_code(cluster, pods[process]) == KILLED
        if any(pods.values()) and not running(stage):
            return False
        time.sleep(0.005)
    raise AssertionError(f"no {stage} to kill\n{cluster.state()}")


def exit_code(cluster: Cluster, pod: str) -> int:
    """How the pod's container ended."""

    def ended() -> list[int]:
        statuses = cluster.get("pod", pod)["status"].get("containerStatuses", [])
        return [s["state"]["terminated"]["exitCode"] for s in statuses if "terminated" in s["state"]]

    return int(cluster.wait(f"the end of {pod}", ended, 60)[0])


def digests(cluster: Cluster) -> dict[str, str]:
    """Digest of each whole artifact by its level (the download is ``source``).

    Asserts that nothing serves before all artifacts are whole.
    """
    serving = cluster.list("deploy")  # first: what serves now had whole artifacts before
    artifacts = cluster.list(MARTS)
    whole = {}
    for artifact in artifacts:
        status = artifact.get("status", {})
        if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])):
            whole[artifact["spec"]["recipe"].get("level", "source")] = str(status["digest"])
    assert not serving or len(whole) == len(artifacts), cluster.state()
    return whole


def tries(cluster: Cluster) -> Counter[tuple[str, str]]:
    """Number of Jobs by what they work for and stage."""
    labels = [job["metadata"]["labels"] for job in cluster.list("jobs")]
    return Counter(
        (one.get("slipway.dev/artifact") or one["slipway.dev/model"], one["slipway.dev/stage"])
        for one in labels
    )


@pytest.fixture(scope="module")
def undisturbed(installed: None) -> Iterator[dict[str, str]]:
    """Digests of the tiny model's artifacts when nobody kills anything."""
    with own_namespace("undisturbed") as cluster:
        cluster.model("tiny", TINY, optimize={"level": "Q4_K_M"})
        cluster.wait("all artifacts", lambda: len(digests(cluster)) == len({"source", "F16", "Q4_K_M"}), 240)
        yield digests(cluster)


def test_a_killed_download_goes_on_behind_its_last_byte(cluster: Cluster, served: Cluster) -> None:
    artifact = served.get(MARTS, artifact_of(served, "source"))["status"]
    sent = int(hub_admin("GET", "/requests")["sent_bytes"])
    with hub_fault(bytes_per_second=40_000_000):
        cluster.model("killed", SMOLLM2)
        assert kill_in_the_middle(cluster, "fetch", Case("source", half_fetched))
    assert "source" not in digests(cluster)
    cluster.wait("the whole download", lambda: "source" in digests(cluster), 180)
    assert digests(cluster)["source"] == artifact["digest"]
    assert tries(cluster)[artifact_of(cluster, "source"), "fetch"] == 2
    sent = int(hub_admin("GET", "/requests")["sent_bytes"]) - sent
    assert artifact["sizeBytes"] <= sent < artifact["sizeBytes"] + BUFFERED


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_is_tried_again_and_the_result_is_whole(
    undisturbed: dict[str, str], stage: str
) -> None:
    case = STAGES[stage]
    for _ in range(CHANCES):
        with own_namespace("killed") as cluster:
            cluster.model("killed", TINY, optimize={"level": "Q4_K_M"})
            if not kill_in_the_middle(cluster, stage, case):
                continue
            assert case.level not in digests(cluster)
            cluster.wait("the whole artifact", lambda made=cluster: case.level in digests(made), 180)
            assert digests(cluster)[case.level] == undisturbed[case.level]
            assert tries(cluster)[artifact_of(cluster, case.level), stage] == 2
            return
    pytest.fail(f"{stage} ended {CHANCES} times before it could be killed")


def test_operator_killed_in_the_middle_goes_on(cluster: Cluster) -> None:
    cluster.model("orphan", TINY)
    cluster.wait("the first Job", lambda: cluster.list("jobs"), 60)
    system = Cluster("slipway-system")
    system.kubectl("delete", "pods", "-l", "app.kubernetes.io/name=slipway", "--grace-period=0", "--force")
    cluster.wait_ready("orphan", 300)
    assert [what for what, count in tries(cluster).items() if count > 1] == []
