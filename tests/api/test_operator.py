"""The operator against a real API server: the whole path, and that it settles."""

from __future__ import annotations

import pytest

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from tests.support.operating import COMMIT, Cluster, operating, served, settled

pytestmark = [pytest.mark.api, pytest.mark.timeout(120)]


async def test_from_one_object_to_a_served_measured_model(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await served(cluster)
        status = (await cluster.get(resources.MODEL, "qwen"))["status"]
        assert status["source"]["commit"] == COMMIT
        assert status["plan"]["level"] == "Q4_K_M"
        assert status["qualityLoss"] == "7.2%"
        assert status["url"] == f"http://qwen.{cluster.namespace}.svc.cluster.local:8080/v1"
        assert status["readyReplicas"] == 1
        assert [level["concurrency"] for level in status["benchmark"]["levels"]] == [1, 4]
        assert status["checklist"]["results"]
        assert "progress" not in status
        conditions = {one["type"]: one["status"] for one in status["conditions"]}
        assert conditions.pop("ChecklistPassed") in ("True", "False")
        assert conditions.pop("Progressing") == "False"
        assert set(conditions.values()) == {"True"}
        revision = await cluster.get(resources.REVISION, status["revision"])
        assert revision["data"]["source"]["commit"] == COMMIT

        await settled(operator)
        before = operator.kube.writes.total()
        for key in operator.observer.own_keys():
            operator.queue.add(key)
        await settled(operator)
        assert operator.kube.writes.total() == before
    async with operating(control_plane.kubeconfig, cluster.namespace) as operator:
        await settled(operator)
        assert operator.kube.writes == {}
