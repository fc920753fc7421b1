"""From a Deployment to a LeaderWorkerSet: what answers goes on until what is planned answers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from slipway import drift
from slipway.observe.observed import ModelObserved
from slipway.passes.outcome import Outcome
from tests.unit.core.test_passes import accepted, condition
from tests.unit.core.test_replan import waits_for_room
from tests.unit.core.test_upkeep import decide, served

Raw = dict[str, Any]


def on_two_nodes(seen: ModelObserved) -> ModelObserved:
    """The same, planned for replicas of two pods."""
    raw = copy.deepcopy(seen.revisions[-1])
    raw["data"]["plan"]["parallel"] |= {"pipeline": 2, "pods": 2}
    raw["data"]["plan"]["engine"] = "vllm"
    raw["metadata"]["uid"] += "-two"
    return replace(seen, revisions=(*seen.revisions[:-1], raw))


def with_group(seen: ModelObserved, outcome: Outcome, answering: int) -> ModelObserved:
    (group,) = [raw for raw in outcome.apply if raw["kind"] == "LeaderWorkerSet"]
    held = accepted(drift.stamped(group))
    held["metadata"] |= {"generation": 1, "resourceVersion": "8"}
    names = ("replicas", "updatedReplicas", "readyReplicas")
    held["status"] = {"observedGeneration": 1, **dict.fromkeys(names, answering)}
    return replace(seen, children=(*seen.children, held))


def gone(outcome: Outcome) -> list[str]:
    return [raw["kind"] for raw in outcome.delete]


def test_the_old_one_answers_until_the_new_one_does() -> None:
    seen, outcome = decide(on_two_nodes(served()))
    assert "Deployment" not in gone(outcome)
    assert condition(outcome, "Available")[0] == "True"
    assert condition(outcome, "Ready")[0] == "False"
    seen, outcome = decide(with_group(seen, outcome, 0))
    assert "Deployment" not in gone(outcome)
    assert outcome.status is not None
    assert outcome.status["readyReplicas"] == 1
    seen = replace(seen, children=tuple(raw for raw in seen.children if raw["kind"] != "LeaderWorkerSet"))
    _, outcome = decide(with_group(seen, outcome, 1))
    assert "Deployment" in gone(outcome)
    assert condition(outcome, "Available")[0] == "True"


@pytest.mark.parametrize("component", ["engine", "engine-worker"])
def test_the_old_one_makes_room_when_a_pod_of_the_new_one_waits_for_it(component: str) -> None:
    seen, outcome = decide(on_two_nodes(served()))
    seen = with_group(seen, outcome, 0)
    pod = waits_for_room(component)
    pod["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/name"] = "qwen-nodes"
    _, outcome = decide(replace(seen, engine_pods=(pod,)))
    assert "Deployment" in gone(outcome)


def test_a_pod_of_the_old_one_asks_for_no_room() -> None:
    seen = on_two_nodes(served())
    _, outcome = decide(replace(seen, engine_pods=(waits_for_room(),)))
    assert "Deployment" not in gone(outcome)
    seen, outcome = decide(seen)
    _, outcome = decide(replace(with_group(seen, outcome, 0), engine_pods=(waits_for_room(),)))
    assert "Deployment" not in gone(outcome)


def test_a_group_that_still_answers_goes_on_to_meet() -> None:
    seen = served()
    first, outcome = decide(on_two_nodes(seen))
    grouped = with_group(first, outcome, 1)
    back = replace(grouped, revisions=seen.revisions, children=grouped.children[-1:])
    _, outcome = decide(back)
    policies = {raw["metadata"]["name"]: raw for raw in outcome.apply if raw["kind"] == "NetworkPolicy"}
    assert "qwen.workers" in policies
    assert policies["qwen"]["spec"]["egress"] != []
    assert "LeaderWorkerSet" not in gone(outcome)
