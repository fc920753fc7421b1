"""Planning anew: by a person's wish, and by itself for a model that nobody answers for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway.observe.observed import ModelObserved, NodeObserved
from slipway.passes import model
from slipway.passes.outcome import Outcome
from slipway.plan.facts import NodeFacts
from slipway.settings import Images, Settings
from slipway.status import timestamp
from tests.support.stage_results import INSPECTED
from tests.unit.core.test_passes import NODE, NOW, SETTINGS, accepted, condition, created, ended, planned
from tests.unit.core.test_upkeep import decide, deployed, served

Raw = dict[str, Any]
LATER = NOW + timedelta(minutes=5)
UPGRADED = Settings(images=Images(runtime="reg/runtime:2", llamacpp="reg/llamacpp:2"))
SMALL = NodeObserved(NodeFacts("s", "amd64", 2, 4 << 30, 50 << 30, ready=True), {"Ready": "True"})


def asking(seen: ModelObserved, mark: str) -> ModelObserved:
    """The same with the annotation, or without it."""
    meta = {**seen.model["metadata"], "annotations": {"slipway.dev/replan": mark} if mark else {}}
    return replace(seen, model={**seen.model, "metadata": meta})


def plan_again(seen: ModelObserved, settings: Settings = SETTINGS) -> tuple[ModelObserved, Raw]:
    """Inspect and pin, as the wish asks; returns what is seen then, and the new revision."""
    inspecting = model.decide(seen, settings, NOW)
    assert created(inspecting) == ["Job"]
    inspected = replace(seen, jobs=(ended(inspecting.create[0], 0, INSPECTED),))
    (pinned,) = model.decide(inspected, settings, NOW).create
    return replace(inspected, revisions=(*seen.revisions, accepted(pinned))), pinned


def revision(outcome: Outcome) -> str:
    assert outcome.status is not None
    return str(outcome.status["revision"])


def test_a_new_wish_plans_anew_with_the_images_of_now() -> None:
    seen, pinned = plan_again(asking(planned(), "1"), UPGRADED)
    assert pinned["data"]["images"]["llamacpp"] == "reg/llamacpp:2"
    assert revision(model.decide(seen, SETTINGS, NOW)) == pinned["metadata"]["name"]


def test_the_same_plan_twice_is_two_revisions_and_no_conflict() -> None:
    before = planned()
    seen, again = plan_again(asking(before, "1"))
    third, last = plan_again(asking(seen, "2"))
    names = {raw["metadata"]["name"] for raw in (before.revisions[0], again, last)}
    assert len(names) == 3
    assert revision(model.decide(third, SETTINGS, NOW)) == last["metadata"]["name"]


@pytest.mark.parametrize("mark", ["", "1"])
def test_a_wish_that_is_taken_back_or_set_back_changes_nothing(mark: str) -> None:
    seen, _ = plan_again(asking(planned(), "1"))
    seen, last = plan_again(asking(seen, "2"), UPGRADED)
    outcome = model.decide(asking(seen, mark), SETTINGS, NOW)
    assert revision(outcome) == last["metadata"]["name"]
    assert "Job" not in created(outcome)
    assert "ControllerRevision" not in created(outcome)


def waits_for_room(component: str = "engine") -> Raw:
    """A pod that no node takes, for minutes."""
    waits = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient memory",
        "lastTransitionTime": timestamp(NOW - timedelta(minutes=5)),
    }
    labels = {"app.kubernetes.io/component": component}
    return {
        "metadata": {"name": "p", "labels": labels},
        "spec": {},
        "status": {"phase": "Pending", "conditions": [waits]},
    }


def homeless(seen: ModelObserved, **status: int) -> ModelObserved:
    """A served model whose newest pod no node takes."""
    gone = deployed(seen, replicas=1, updatedReplicas=1, availableReplicas=0, readyReplicas=0)
    return replace(deployed(gone, **status), engine_pods=(waits_for_room(),))


def test_what_nobody_answers_for_is_planned_anew_with_its_own_images() -> None:
    seen = homeless(served())
    assert condition(decide(seen)[1], "Available")[1] == "Unschedulable"
    assert created(decide(seen)[1]) == []  # the nodes are the same, so is the plan
    outcome = model.decide(replace(seen, nodes=(SMALL,)), UPGRADED, NOW)
    (pinned,) = outcome.create
    assert pinned["data"]["plan"]["threads"] == 2
    assert pinned["data"]["images"] == seen.revisions[0]["data"]["images"]
    assert pinned["data"]["source"] == seen.revisions[0]["data"]["source"]
    assert pinned["revision"] == 2


def test_another_reason_is_no_other_plan() -> None:
    seen = homeless(served())
    more = NodeObserved(replace(NODE.facts, name="other"), {"Ready": "True"})
    outcome = model.decide(replace(seen, nodes=(NODE, more)), SETTINGS, NOW)
    assert created(outcome) == []


def test_what_answers_is_not_planned_anew_by_itself() -> None:
    seen = homeless(served(), replicas=2, updatedReplicas=2, availableReplicas=1)
    outcome = model.decide(replace(seen, nodes=(SMALL,)), UPGRADED, NOW)
    assert condition(outcome, "Progressing")[1] == "Unschedulable"
    assert created(outcome) == []


def test_a_plan_of_before_can_be_taken_again() -> None:
    seen = homeless(served())
    there = model.decide(replace(seen, nodes=(SMALL,)), SETTINGS, NOW).create[0]
    both = replace(seen, revisions=(*seen.revisions, accepted(there)), nodes=(SMALL,))
    back = model.decide(replace(both, nodes=(NODE,)), SETTINGS, NOW)
    assert revision(back) == there["metadata"]["name"]
    (third,) = back.create
    # It is the plan of the first revision, and yet another object: else it could not be made.
    assert third["data"] == seen.revisions[0]["data"]
    assert third["metadata"]["name"] not in {raw["metadata"]["name"] for raw in both.revisions}
    assert third["revision"] == 3
