"""Jobs that wait for what a person corrects are replaced by what they would be now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway.observe.observed import ArtifactObserved, JobObserved, ModelObserved
from slipway.passes import artifact, model
from slipway.passes.outcome import Outcome
from slipway.settings import Images, Settings
from slipway.status import timestamp
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition, created, first, source
from tests.unit.core.test_upkeep import GENERATIONS

Raw = dict[str, Any]
LATER = NOW + timedelta(minutes=5)
CORRECTED = Settings(images=Images(runtime="reg/right:1"))
UNPULLED = {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}


def a_pod(state: Raw | None = None, *conditions: Raw, phase: str = "Pending", **status: Any) -> Raw:
    containers = [{"name": "stage", "image": "i", "state": state}] if state else []
    found = {"phase": phase, "containerStatuses": containers, "conditions": list(conditions), **status}
    return {"metadata": {"name": "p", "creationTimestamp": timestamp(NOW)}, "spec": {}, "status": found}


def unschedulable(message: str = "0/1 nodes: untolerated taint") -> Raw:
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": timestamp(NOW),
    }


def with_pod(seen: ModelObserved | ArtifactObserved, made: Outcome, *pods: Raw) -> Any:
    """The same with the Job that was made, and its pods."""
    return replace(seen, jobs=(JobObserved(accepted(made.create[0], status={}), pods),))


def test_a_corrected_image_reaches_an_inspection_that_waits_for_the_wrong_one() -> None:
    seen, made = first()
    waits = with_pod(seen, made, a_pod(UNPULLED))
    outcome = model.decide(waits, SETTINGS, NOW)
    assert (created(outcome), outcome.delete) == ([], ())
    outcome = model.decide(waits, CORRECTED, NOW)
    assert outcome.delete == (waits.jobs[0].job,)
    (job,) = outcome.create
    assert job["metadata"]["name"].endswith("-inspect-2")
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "reg/right:1"
    assert condition(outcome, "SourceResolved")[1] == "ImagePullFailed"  # until the new one shows better
    # The new Job is right: it is left alone, whatever it waits for.
    again = model.decide(with_pod(seen, outcome, a_pod(UNPULLED)), CORRECTED, LATER)
    assert (created(again), again.delete) == ([], ())


@pytest.mark.parametrize("state", ["running", "terminated"])
def test_a_job_whose_container_ran_is_never_replaced(state: str) -> None:
    seen, made = first()
    again = a_pod(UNPULLED)
    ran = a_pod({state: {}}, phase="Running" if state == "running" else "Failed")
    ran["metadata"]["creationTimestamp"] = timestamp(NOW - timedelta(minutes=1))
    outcome = model.decide(with_pod(seen, made, ran, again), CORRECTED, NOW)
    assert (created(outcome), outcome.delete) == ([], ())


def test_tolerations_reach_a_stage_that_no_node_takes() -> None:
    seen = source()
    waits = with_pod(seen, artifact.decide(seen, SETTINGS, NOW), a_pod(None, unschedulable()))
    assert created(artifact.decide(waits, SETTINGS, LATER)) == []
    user = waits.users[0]
    overrides = {"tolerations": [{"key": "gpu", "operator": "Exists"}]}
    spec = {**user.model["spec"], "engine": {"podOverrides": overrides}}
    meta = {**user.model["metadata"], "generation": next(GENERATIONS)}
    tolerant = replace(user, model={**user.model, "metadata": meta, "spec": spec})
    outcome = artifact.decide(replace(waits, users=(tolerant,)), SETTINGS, LATER)
    assert outcome.delete == (waits.jobs[0].job,)
    assert outcome.create[0]["spec"]["template"]["spec"]["tolerations"] == overrides["tolerations"]
    assert outcome.create[0]["metadata"]["name"].endswith("-fetch-2")


def test_a_job_that_gets_no_pod_is_said_and_replaced_by_what_may_be_admitted() -> None:
    seen, made = first()
    refused = with_pod(seen, made)
    assert condition(model.decide(refused, SETTINGS, NOW), "SourceResolved")[1] == "Inspecting"
    outcome = model.decide(refused, SETTINGS, LATER)
    assert condition(outcome, "SourceResolved")[1] == "PodRefused"
    assert created(outcome) == []
    assert created(model.decide(refused, CORRECTED, LATER)) == ["Job"]
    job = refused.jobs[0].job
    suspended = [{"type": "Suspended", "status": "True"}]
    for status in ({"active": 1}, {"conditions": suspended}):  # the pod is just not seen; a queue holds it
        known = replace(refused, jobs=(JobObserved({**job, "status": status}),))
        assert condition(model.decide(known, CORRECTED, LATER), "SourceResolved")[1] == "Inspecting"
