"""Downloads that take their time show progress; a kill, another spec, a delete in their middle are fine.

The hub's faults hold for everybody, and its bytes are counted: nothing else may download meanwhile.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.access import CHILDREN
from tests.cluster.hub import SMOLLM2, TINY, hub_fault, sent_bytes
from tests.cluster.namespaces import Cluster, own_namespace, tries
from tests.cluster.stages import (
    KILLED,
    artifact_of,
    digests,
    exit_code,
    fetched,
    level_of,
    work_begun,
)
from tests.cluster.tables import column

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
RATE = 12_000_000
"""Bytes a second: slow enough to see progress twice, which the operator reads every five seconds."""
FETCHED = 100_000_000
"""Bytes at least that are on the disk when the download is killed."""
BUFFERED = 60_000_000
"""Bytes at most that were sent and lost by the kill, or read to inspect the model."""
CRAWL = 500_000
"""Bytes a second: slow enough not to be done before something happens to it."""
LOOK_S = 0.2
EVERYWHERE = Cluster("")
DOWNLOADS = "slipway.dev/stage in (inspect,fetch)"


@dataclass(frozen=True)
class Download:
    """A slow download that was killed, and then went to its end.

    Attributes:
        percents: of the artifact's status, as they were seen one after the other.
        columns: what ``kubectl get mdl`` showed of it.
        sent: bytes over the wire, from before the inspection until it was whole.
        digest: of what is on the disk.
        fetches: how many Jobs worked on it.
    """

    percents: list[int]
    columns: list[str]
    sent: int
    digest: str
    fetches: int


def downloading(process: Path, _all: list[Path]) -> bool:
    """Bytes are on the disk."""
    return fetched(process) > 0


def fetch_pods(cluster: Cluster) -> str:
    """Selects the pods of the download."""
    return f"slipway.dev/artifact={artifact_of(cluster, 'source')},slipway.dev/stage=fetch"


def others(cluster: Cluster, *, live: bool) -> set[str]:
    """Pods of all other namespaces that ask, or asked, the hub for something."""
    pods = EVERYWHERE.list("pods", DOWNLOADS)
    found = [pod for pod in pods if pod["metadata"]["namespace"] != cluster.namespace]
    return {
        pod["metadata"]["uid"]
        for pod in found
        if not live or pod["status"]["phase"] in ("Pending", "Running")
    }


def kill_when_seen_twice(cluster: Cluster) -> tuple[list[int], list[str]]:
    """Watch the download's progress, kill it behind the second figure; what was seen."""
    percents: list[int] = []
    columns: list[str] = []
    pod, process = work_begun(cluster, fetch_pods(cluster), downloading)
    assert process
    while fetched(process) < FETCHED or len(percents) < 2:
        artifact = cluster.get("mart", artifact_of(cluster, "source"))
        percent = artifact.get("status", {}).get("progress", {}).get("percent", 0)
        if percent and percent not in percents[-1:]:
            percents.append(percent)
            columns.append(column(cluster, "mdl", "slow", "PROGRESS"))
        time.sleep(LOOK_S)
    os.kill(int(process.name), signal.SIGKILL)
    assert exit_code(cluster, pod) == KILLED
    return percents, columns


@pytest.fixture(scope="module")
def download(served: Cluster) -> Download:
    """Alone on the hub: slow until its progress was seen twice, killed, and then to its end."""
    with own_namespace("slow") as cluster:
        cluster.wait("the hub to be idle", lambda: not others(cluster, live=True), 180)
        before, strangers = sent_bytes(), others(cluster, live=False)
        with hub_fault(bytes_per_second=RATE):
            cluster.model("slow", SMOLLM2)
            percents, columns = kill_when_seen_twice(cluster)
            assert "source" not in digests(cluster)
        cluster.wait("the whole download", lambda: "source" in digests(cluster), 180)
        sent = sent_bytes() - before
        assert others(cluster, live=False) <= strangers  # else their bytes were counted too
        fetches = tries(cluster)[artifact_of(cluster, "source"), "fetch"]
        return Download(percents, columns, sent, digests(cluster)["source"], fetches)


def test_progress_of_a_download_shows_and_rises(download: Download) -> None:
    assert len(download.percents) >= 2
    assert all(0 < percent < 100 for percent in download.percents)
    assert download.percents == sorted(set(download.percents))
    shown = [re.fullmatch(r"Fetching (\d+)%", text) for text in download.columns]
    assert all(shown), download.columns
    # The deployment's pass comes after the artifact's: it shows this figure, or the one before.
    assert all(0 <= int(match[1]) <= download.percents[-1] for match in shown if match)
    assert len(set(download.columns)) >= 2


def test_a_killed_download_goes_on_behind_its_last_byte(download: Download, served: Cluster) -> None:
    artifact = served.get("mart", artifact_of(served, "source"))["status"]
    assert download.digest == artifact["digest"]
    assert download.fetches == 2
    assert artifact["sizeBytes"] <= download.sent < artifact["sizeBytes"] + BUFFERED


def begin(cluster: Cluster, name: str, **spec: Any) -> str:
    """Apply a deployment and wait until bytes of its download are on the disk; name of the artifact."""
    cluster.model(name, SMOLLM2, **spec)

    def asked_for() -> str:
        found = [one for one in cluster.list("mart") if one["spec"]["source"]["uri"] == SMOLLM2]
        return next((str(one["metadata"]["name"]) for one in found if level_of(one) == "source"), "")

    artifact = str(cluster.wait("the artifact of the download", asked_for, 120))
    assert work_begun(cluster, f"slipway.dev/artifact={artifact}", downloading)[1]
    return artifact


def test_spec_changed_in_the_middle_of_a_job(built: Cluster, download: Download) -> None:
    with hub_fault(bytes_per_second=CRAWL):
        begin(built, "changing")
        built.model("changing", TINY)
        mdl = built.wait_ready("changing", 120)
        assert mdl["status"]["source"]["uri"] == TINY
        assert {one["name"] for one in mdl["status"]["artifacts"]} == of_source(built, TINY)
        built.wait("the old artifacts gone", lambda: not of_source(built, SMOLLM2), 60)
        built.wait("their Jobs, pods and claims gone", lambda: not remnants(built), 60)
    built.delete_models("changing")


def of_source(cluster: Cluster, uri: str) -> set[str]:
    """Names of the artifacts that are made from the source."""
    return {one["metadata"]["name"] for one in cluster.list("mart") if one["spec"]["source"]["uri"] == uri}


def remnants(cluster: Cluster) -> set[str]:
    """Jobs, pods and claims of the demo's model."""
    names = {one["metadata"]["name"] for one in cluster.list("jobs,pods,pvc")}
    return {name for name in names if name.startswith("smollm2-")}


def test_object_deleted_in_the_middle_of_a_job(cluster: Cluster, download: Download) -> None:
    managed = "app.kubernetes.io/managed-by=slipway"
    with hub_fault(bytes_per_second=CRAWL):
        begin(cluster, "deleted", autoscaling={"maxReplicas": 2})
        cluster.kubectl("delete", "mdl", "deleted")
        cluster.wait("everything collected", lambda: not cluster.list(CHILDREN, managed), 60)


def test_hub_down_waits_and_then_goes_on_by_itself(cluster: Cluster, download: Download) -> None:
    with hub_fault(down=True):
        cluster.model("waiting", TINY)
        cluster.wait_reason("waiting", "Ready", "HubUnavailable", 180)
    cluster.wait_true("waiting", "SourceResolved", 180)
