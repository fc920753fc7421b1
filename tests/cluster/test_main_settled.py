"""A settled model is let alone: by another leader's passes over it, and while there is no operator at all."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.cluster import access
from tests.cluster.access import CHILDREN, DIRECT, ROOT
from tests.cluster.namespaces import SYSTEM, Cluster
from tests.cluster.operators import leader, replicas, total
from tests.support.helm import find_helm

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
EVERYWHERE = Cluster("")
OURS = "mdl,mart"


def versions(cluster: Cluster) -> dict[tuple[str, str], str]:
    """What changes with every write, of each object in the namespace."""
    found = cluster.list(f"mdl,{CHILDREN}")
    return {(one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"] for one in found}


def quiet() -> bool:
    """No other deployment is at work, in any namespace that stays: writes for it would be counted."""
    going = {
        one["metadata"]["name"]
        for one in EVERYWHERE.list("namespaces")
        if "deletionTimestamp" in one["metadata"]
    }
    staying = [one for one in EVERYWHERE.list("mdl") if one["metadata"]["namespace"] not in going]
    return not any(one.get("status", {"progress": "not seen yet"}).get("progress") for one in staying)


def all_passed(pod: dict[str, Any]) -> bool:
    """The replica has made a pass over each object of ours: a new leader has all of them in its queue."""
    passes = total(pod, "slipway_reconcile_duration_seconds_count")
    return passes >= len(EVERYWHERE.list(OURS)) and total(pod, "slipway_queue_depth") == 0


def test_another_leader_passes_over_everything_and_writes_nothing(served: Cluster) -> None:
    served.wait("everything to be settled", quiet, 120)
    before, old = versions(served), leader()
    SYSTEM.kubectl("delete", "pod", old["metadata"]["name"], "--wait=false")

    def another() -> dict[str, Any] | None:
        now = leader()
        return now if now and now["metadata"]["uid"] != old["metadata"]["uid"] else None

    new = served.wait("another leader", another, 30)
    assert len(served.list(OURS)) == 4
    served.wait("its passes", lambda: all_passed(new), 60)
    assert versions(served) == before
    assert total(new, "slipway_api_writes_total", without="Lease") == 0
    assert total(new, "slipway_api_writes_total") > 0  # else the metric counts nothing


def test_helm_uninstall_keeps_crds_and_the_serving_model_and_an_install_takes_it_up(served: Cluster) -> None:
    before, pods = versions(served), {pod["metadata"]["uid"] for pod in served.engines("smollm2")}
    access.run(find_helm(), "uninstall", "slipway", "--namespace", SYSTEM.namespace, "--wait")
    SYSTEM.wait("no operator", lambda: not replicas(), 60)
    with DIRECT.open(f"{served.endpoint('smollm2')}/v1/models", timeout=30) as answer:
        assert answer.status == 200
    assert versions(served) == before
    subprocess.run([sys.executable, "hack/demo/install.py"], cwd=ROOT, check=True, timeout=300)
    new = served.wait("a leader", leader, 60)
    served.wait("its passes", lambda: all_passed(new), 60)
    assert versions(served) == before
    assert {pod["metadata"]["uid"] for pod in served.engines("smollm2")} == pods
    served.wait_true("smollm2", "Ready", 10)
