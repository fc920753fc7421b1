"""Updates that need room, a rollout that somebody paused, and webhooks that change what is applied."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway import drift
from slipway.manifests import held
from slipway.observe.observed import ModelObserved
from slipway.passes import model, rollout
from slipway.passes.outcome import Outcome
from slipway.plan.rollout import needs_room
from slipway.plan.symptoms import Symptoms
from slipway.status import timestamp
from tests.unit.core.test_passes import NOW, SETTINGS, condition
from tests.unit.core.test_upkeep import child, decide, deployed, of_kind, served

Raw = dict[str, Any]
ROOM = {"maxSurge": 0, "maxUnavailable": 1}
BESIDE = {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("seen", "needs"),
    [
        (Symptoms(waiting="ContainerCreating", scheduled_seconds=121), True),
        (Symptoms(waiting="ContainerCreating", scheduled_seconds=119), False),
        (Symptoms(waiting="ContainerCreating", scheduled_seconds=999, sandboxed=True), False),  # a slow pull
        (Symptoms(unschedulable="0/1 nodes: 1 Insufficient cpu.", unschedulable_seconds=121), True),
        (Symptoms(unschedulable="0/1 nodes: 1 Insufficient cpu.", unschedulable_seconds=119), False),
        # Neither would start if the old one went.
        (Symptoms(unschedulable="0/1 nodes: 1 untolerated taint.", unschedulable_seconds=999), False),
        (Symptoms(waiting="ImagePullBackOff", scheduled_seconds=999), False),
        (Symptoms(waiting="CrashLoopBackOff", scheduled_seconds=999), False),
        (Symptoms(), False),
    ],
)
def test_only_what_an_old_pod_has_is_taken_from_it(seen: Symptoms, *, needs: bool) -> None:
    assert needs_room(seen) is needs


def strategy(outcome: Outcome) -> Raw:
    wished = of_kind(outcome, "Deployment")
    assert wished is not None
    return dict(wished["spec"]["strategy"]["rollingUpdate"])


def surging(container: Raw, *, seconds: float = 300) -> tuple[ModelObserved, Raw]:
    """A served model in the middle of an update: the old pod answers, the new one waits."""
    since = timestamp(NOW - timedelta(seconds=seconds))
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": since}]
    status = {"phase": "Pending", "conditions": conditions, "containerStatuses": [container]}
    labels = {"app.kubernetes.io/component": "engine"}
    pod = {"metadata": {"name": "new", "labels": labels}, "spec": {}, "status": status}
    seen = replace(served(), engine_pods=(pod,))
    spec = {"engine": {"args": {"poll": "0"}}}
    return deployed(seen, replicas=2, updatedReplicas=1, availableReplicas=1), spec


CREATING = {"name": "engine", "image": "i", "state": {"waiting": {"reason": "ContainerCreating"}}}


def test_a_pod_that_waits_for_the_volume_of_the_old_one_gets_it() -> None:
    seen, spec = surging(CREATING)
    _, outcome = decide(seen, **spec)
    assert strategy(outcome) == ROOM
    assert condition(outcome, "Progressing")[1] == "RollingOut"
    assert "an old one stops before the next starts" in condition(outcome, "Progressing")[2]
    # To the end of the update, though the pod that was in the way is gone; and no longer.
    seen = replace(seen, children=tuple(child(raw, 3) for raw in outcome.apply), engine_pods=())
    updating = deployed(seen, replicas=3, updatedReplicas=2, availableReplicas=2)
    assert strategy(decide(updating, **spec, replicas=3)[1]) == ROOM
    done = deployed(seen, replicas=3, updatedReplicas=3, availableReplicas=3)
    assert strategy(decide(done, **spec, replicas=3)[1]) == BESIDE


def test_an_update_goes_beside_what_serves_as_long_as_it_may() -> None:
    seen, spec = surging(CREATING, seconds=90)
    assert strategy(decide(seen, **spec)[1]) == BESIDE
    seen, spec = surging({**CREATING, "state": {"waiting": {"reason": "ImagePullBackOff"}}})
    assert strategy(decide(seen, **spec)[1]) == BESIDE
    seen, spec = surging(CREATING)
    only_more = deployed(seen, replicas=2, updatedReplicas=2)
    assert strategy(decide(only_more, **spec)[1]) == BESIDE
    (deployment,) = [raw for raw in seen.children if raw["kind"] == "Deployment"]
    stuck = Symptoms(waiting="ContainerCreating", scheduled_seconds=999)
    assert rollout.makes_room(deployment, [stuck], spreads=False)
    assert not rollout.makes_room(deployment, [stuck], spreads=True)
    assert not rollout.makes_room(None, [stuck], spreads=False)


def test_a_rollout_that_somebody_paused_is_resumed() -> None:
    seen, outcome = decide(deployed(served(), spec={"paused": True}))
    wished, runs = of_kind(outcome, "Deployment"), next(r for r in seen.children if r["kind"] == "Deployment")
    assert wished is not None
    assert wished["spec"]["paused"] is False
    assert not drift.settled(drift.stamped(wished), runs)


def test_what_a_webhook_changes_is_taken_as_it_is_and_a_hand_is_not() -> None:
    seen = served()
    wished = of_kind(decide(seen)[1], "Deployment")
    assert wished is not None
    runs = child(wished)
    container = runs["spec"]["template"]["spec"]["containers"][0]
    mirrored = {**container, "image": "mirror.example/llamacpp:1"}
    template = {**runs["spec"]["template"]["spec"], "containers": [mirrored]}
    runs["spec"] = {**runs["spec"], "template": {**runs["spec"]["template"], "spec": template}}
    others = tuple(raw for raw in seen.children if raw["kind"] != "Deployment")
    _, outcome = decide(replace(seen, children=(*others, runs)))
    assert condition(outcome, "Ready")[:2] == ("False", "RollingOut")
    marked = held.build_mark(drift.stamped(wished), runs)
    runs["metadata"] = {**runs["metadata"], "annotations": marked["metadata"]["annotations"]}
    _, outcome = decide(replace(seen, children=(*others, runs)))
    assert condition(outcome, "Progressing")[:2] == ("False", "Settled")
    assert condition(outcome, "Ready")[0] == "True"
    assert outcome.status is not None
    warned = [one for one in outcome.status["checklist"]["results"] if one["check"] == "admission"]
    assert warned[0]["result"] == "WARN"
    assert warned[0]["value"] == "changed on admission: Deployment"
    by_hand = deployed(replace(seen, children=(*others, runs)), spec={"minReadySeconds": 9})
    assert condition(decide(by_hand)[1], "Progressing")[1] == "RollingOut"


def test_a_settled_pass_wishes_what_it_wished_before() -> None:
    seen = served()
    first, again = (model.decide(seen, SETTINGS, NOW + timedelta(hours=hour)) for hour in (0, 1))
    assert first.apply == again.apply
