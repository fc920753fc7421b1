"""A Deployment and a LeaderWorkerSet read alike."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.plan.workload import Counts, as_deployment, counts, template, with_pods_of

LEADER = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}


def group(generation: int = 1, **status: int) -> dict[str, Any]:
    return {
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "chat-nodes", "generation": generation},
        "spec": {"replicas": 2, "leaderWorkerTemplate": {"size": 2, "leaderTemplate": LEADER}},
        "status": status,
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, Counts()),
        (group(), Counts(wished=2, heard=False)),
        (group(replicas=2, updatedReplicas=1, readyReplicas=2), Counts(2, 2, 1, 2, heard=True)),
        (group(3, replicas=2, observedGeneration=2), Counts(2, 2, 0, 0, heard=False)),
        (group(3, replicas=2, readyReplicas=1, observedGeneration=3), Counts(2, 2, 0, 1, heard=True)),
    ],
    ids=["none", "new", "before 0.7", "not heard", "heard"],
)
def test_counts_of_groups(raw: dict[str, Any] | None, expected: Counts) -> None:
    assert counts(raw) == expected


def test_rules_read_a_group_as_a_deployment() -> None:
    seen = as_deployment(group(readyReplicas=2))
    assert seen["kind"] == "LeaderWorkerSet"
    assert seen["spec"] == {"replicas": 2, "template": LEADER}
    assert seen["status"]["availableReplicas"] == 2


def test_the_pods_of_what_runs_are_kept() -> None:
    wished = {**group(), "spec": {"replicas": 5, "leaderWorkerTemplate": {"size": 4}}}
    kept = with_pods_of(wished, group())
    assert kept["spec"]["replicas"] == 5
    assert template(kept) == LEADER
