"""Memory of Jobs: from the model's facts, more of it when it was too little, and what an eviction tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.observe.observed import ArtifactObserved, User
from slipway.passes import artifact, model, tries
from slipway.plan.quantities import quantity
from slipway.status import timestamp
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, created, planned, source
from tests.unit.core.test_replaced_jobs import LATER, UNPULLED, a_pod, with_pod

Raw = dict[str, Any]


def test_a_conversion_gets_the_memory_of_the_models_largest_tensor() -> None:
    seen = planned()
    raw_source, raw_f16, _ = model.decide(seen, SETTINGS, NOW).create
    ready = [{"type": "Ready", "status": "True", "reason": "Built", "message": ""}]
    parent = accepted(raw_source, status={"conditions": ready, "location": {"claim": "c"}})
    users = (User(seen.model, seen.revisions[0], planned=True),)
    observed = ArtifactObserved({**accepted(raw_f16), "status": {}}, users, parent)
    claim = next(one for one in artifact.decide(observed, SETTINGS, NOW).create if "Claim" in one["kind"])
    (job,) = artifact.decide(replace(observed, claim=accepted(claim)), SETTINGS, NOW).create
    limit = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    embedding = 49_152 * 576
    assert 6 * embedding <= quantity(limit) - (640 + 512) * 1024**2 < 6 * embedding + 1024**2


def test_the_try_after_one_that_was_killed_for_memory_has_twice_the_limit() -> None:
    seen = source()
    made = artifact.decide(seen, SETTINGS, NOW)
    limit = made.create[0]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert limit == "1Gi"
    waits = with_pod(seen, made, a_pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))
    dead = {"type": "Failed", "status": "True", "lastTransitionTime": timestamp(NOW)}
    job = {**waits.jobs[0].job, "status": {"conditions": [dead]}}
    failed = replace(seen, jobs=(replace(waits.jobs[0], job=job),))
    again = artifact.decide(failed, SETTINGS, LATER)
    container = again.create[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"memory": "2Gi"},
    }
    # It is the one that is wished, so it is not replaced for its memory while it waits.
    waits = with_pod(seen, again, a_pod(UNPULLED))
    assert created(artifact.decide(waits, SETTINGS, LATER)) == []


@pytest.mark.parametrize(
    ("reason", "message", "evicted"),
    [
        ("Evicted", "The node was low on resource: memory. ", True),
        (
            "Evicted",
            "The node had condition: [MemoryPressure]. ",
            False,
        ),  # it was not let in: it used nothing
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", False),
        ("Preempting", "Preempted in order to admit critical pod", False),
    ],
)
def test_what_the_kubelet_ends_for_its_appetite_is_no_disruption(
    reason: str, message: str, *, evicted: bool
) -> None:
    target = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "TerminationByKubelet",
        "message": message,
    }
    pod = a_pod(None, target, phase="Failed", reason=reason, message=message)
    seen = tries.engine_symptoms(pod, NOW)
    assert bool(seen.evicted) is evicted
    assert seen.disrupted == "TerminationByKubelet"
