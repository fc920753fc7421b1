"""What passes write while a Job waits for its turn: for a slot, or for Kueue."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway.manifests import kueue
from slipway.observe.observed import JobObserved, ModelObserved
from slipway.passes import artifact, model
from slipway.plan.job_queue import SHOWN, Turn
from slipway.settings import Settings
from slipway.status import timestamp
from tests.unit.core.test_passes import (
    NOW,
    SETTINGS,
    accepted,
    condition,
    created,
    ended,
    first,
    mdl,
    planned,
    source,
)
from tests.unit.core.test_replaced_jobs import a_pod

Raw = dict[str, Any]
WAITS = Turn(2, 1, ("other-fetch-1",), 0)
TEAM = {kueue.QUEUE: "team", kueue.PRIORITY: "urgent"}


def labelled(raw: Raw, labels: dict[str, str]) -> Raw:
    return {**raw, "metadata": {**raw["metadata"], "labels": labels}}


def for_kueue(labels: dict[str, str]) -> Any:
    """The source artifact of a model with these labels."""
    seen = source()
    user = seen.users[0]
    return replace(seen, users=(replace(user, model=labelled(user.model, labels)),))


def held(job: Raw, *pods: Raw, suspend: bool = True, **status: Any) -> JobObserved:
    """A Job as the cache has it once it is created."""
    return JobObserved(accepted(job, spec={"suspend": suspend}, status=status), pods)


def test_a_job_whose_turn_has_not_come_is_not_made_and_the_condition_says_why() -> None:
    seen = source()
    outcome = artifact.decide(seen, SETTINGS, NOW, lambda: WAITS)
    assert created(outcome) == []
    assert condition(outcome, "Ready") == ("False", "Queued", WAITS.text)
    assert outcome.status is not None
    assert ("progress" in outcome.status, outcome.status["stage"]) == (False, "fetch")
    assert outcome.notes == ()
    assert outcome.requeue_after is not None
    # Nothing is written while nothing changes.
    kept = replace(seen, artifact={**seen.artifact, "status": outcome.status})
    later = artifact.decide(kept, SETTINGS, NOW + timedelta(hours=1), lambda: WAITS)
    assert later.status == outcome.status
    assert created(artifact.decide(kept, SETTINGS, NOW, lambda: Turn(0, 1))) == ["Job"]


def test_far_behind_nobody_looks_by_the_clock() -> None:
    outcome = artifact.decide(source(), SETTINGS, NOW, lambda: Turn(SHOWN + 1, 1))
    assert outcome.requeue_after is None


def test_a_turn_is_asked_for_by_what_wants_to_start_alone() -> None:
    seen = source()
    job = artifact.decide(seen, SETTINGS, NOW).create[0]

    def never() -> Turn:
        raise AssertionError("asked")

    artifact.decide(replace(seen, jobs=(held(job, suspend=False),)), SETTINGS, NOW, never)
    artifact.decide(replace(seen, artifact={**seen.artifact, "status": {}}, claim=None), SETTINGS, NOW, never)


def test_the_model_says_that_its_artifact_is_queued() -> None:
    seen = planned()
    status = artifact.decide(source(), SETTINGS, NOW, lambda: WAITS).status
    raws = [accepted(raw) for raw in model.decide(seen, SETTINGS, NOW).create]
    raws[0]["status"] = status
    named = {raw["metadata"]["name"]: raw for raw in raws}
    outcome = model.decide(replace(seen, artifacts=named), SETTINGS, NOW)
    assert condition(outcome, "ArtifactReady") == ("False", "Queued", WAITS.text)
    assert outcome.status is not None
    assert outcome.status["progress"] == "Queued"


@pytest.mark.parametrize("labels", [TEAM, {kueue.QUEUE: "team"}])
def test_kueues_labels_reach_every_job_which_is_then_suspended(labels: dict[str, str]) -> None:
    (stage,) = artifact.decide(
        for_kueue(labels), SETTINGS, NOW, lambda: WAITS
    ).create  # the cap is not for it
    inspect = model.decide(ModelObserved(labelled(mdl(), labels), nodes=first()[0].nodes), SETTINGS, NOW)
    for job in (stage, inspect.create[0]):
        assert labels.items() <= job["metadata"]["labels"].items()
        assert job["spec"]["suspend"] is True
        assert not labels.keys() & job["spec"]["template"]["metadata"]["labels"].keys()


@pytest.mark.parametrize("labels", [{}, {kueue.QUEUE: ""}, {"team": "a"}])
def test_without_kueues_queue_no_job_is_suspended(labels: dict[str, str]) -> None:
    (job,) = artifact.decide(for_kueue(labels), SETTINGS, NOW).create
    assert "suspend" not in job["spec"]
    assert (job["metadata"]["labels"], job["metadata"]["annotations"]) == (
        artifact.decide(source(), SETTINGS, NOW).create[0]["metadata"]["labels"],
        artifact.decide(source(), SETTINGS, NOW).create[0]["metadata"]["annotations"],
    )


def test_a_priority_alone_is_passed_on_and_suspends_nothing() -> None:
    (job,) = artifact.decide(for_kueue({kueue.PRIORITY: "urgent"}), SETTINGS, NOW).create
    assert job["metadata"]["labels"][kueue.PRIORITY] == "urgent"
    assert "suspend" not in job["spec"]
    assert created(artifact.decide(for_kueue({kueue.PRIORITY: "urgent"}), SETTINGS, NOW, lambda: WAITS)) == []


def test_a_suspended_job_is_queued_for_ever_and_no_failure() -> None:
    seen = for_kueue(TEAM)
    (job,) = artifact.decide(seen, SETTINGS, NOW).create
    suspended = replace(seen, jobs=(held(job),))
    for later in (timedelta(0), timedelta(days=30)):
        outcome = artifact.decide(suspended, SETTINGS, NOW + later)
        assert condition(outcome, "Ready") == (
            "False",
            "Queued",
            f"Job {job['metadata']['name']} waits for Kueue's queue team",
        )
        assert (created(outcome), outcome.delete, outcome.notes) == ([], (), ())
        assert outcome.status is not None
        assert "progress" not in outcome.status
        assert "failure" not in outcome.status


def test_a_job_that_kueue_takes_back_is_queued_whatever_its_pod_says() -> None:
    seen = for_kueue(TEAM)
    (job,) = artifact.decide(seen, SETTINGS, NOW).create
    killed = a_pod({"terminated": {"exitCode": 143, "reason": "Error"}}, phase="Failed")
    outcome = artifact.decide(replace(seen, jobs=(held(job, killed),)), SETTINGS, NOW)
    assert condition(outcome, "Ready")[1] == "Queued"
    assert (created(outcome), outcome.delete) == ([], ())


def test_a_job_that_was_let_go_has_a_minute_to_get_its_pod() -> None:
    seen = for_kueue(TEAM)
    (job,) = artifact.decide(seen, SETTINGS, NOW).create
    go = NOW + timedelta(hours=5)
    running = replace(seen, jobs=(held(job, suspend=False, startTime=timestamp(go)),))
    assert condition(artifact.decide(running, SETTINGS, go), "Ready")[1] == "Building"
    refused = artifact.decide(running, SETTINGS, go + timedelta(seconds=61))
    assert condition(refused, "Ready")[1] == "PodRefused"


def test_another_queue_replaces_a_job_that_waits_and_leaves_one_that_runs() -> None:
    seen = for_kueue(TEAM)
    (job,) = artifact.decide(seen, SETTINGS, NOW).create
    moved = for_kueue({kueue.QUEUE: "other"})
    outcome = artifact.decide(replace(moved, jobs=(held(job),)), SETTINGS, NOW)
    assert [raw["metadata"]["name"] for raw in outcome.delete] == [job["metadata"]["name"]]
    assert outcome.create[0]["metadata"]["labels"][kueue.QUEUE] == "other"
    runs = held(job, a_pod({"running": {}}, phase="Running"), suspend=False)
    outcome = artifact.decide(replace(moved, jobs=(runs,)), SETTINGS, NOW)
    assert (created(outcome), outcome.delete) == ([], ())


def test_the_first_users_queue_counts() -> None:
    seen = for_kueue(TEAM)
    other = replace(seen.users[0], model=labelled(mdl(), {kueue.QUEUE: "other"}))
    both = replace(seen, users=(seen.users[0], other))
    assert artifact.decide(both, SETTINGS, NOW).create[0]["metadata"]["labels"][kueue.QUEUE] == "team"


def test_a_job_that_a_hand_suspended_says_so() -> None:
    seen = source()
    (job,) = artifact.decide(seen, SETTINGS, NOW).create
    outcome = artifact.decide(replace(seen, jobs=(held(job),)), SETTINGS, NOW)
    assert condition(outcome, "Ready")[1] == "Queued"
    assert "spec.suspend" in condition(outcome, "Ready")[2]


def test_a_finished_job_is_no_suspended_one() -> None:
    seen = for_kueue(TEAM)
    (job,) = artifact.decide(seen, SETTINGS, NOW).create
    done = ended(job, 77, {"ok": False, "reason": "TokenRejected", "message": "no"})
    done = replace(done, job={**done.job, "spec": {"suspend": True}})
    outcome = artifact.decide(replace(seen, jobs=(done,)), SETTINGS, NOW)
    assert condition(outcome, "Ready")[1] == "TokenRejected"


def test_priority_class_and_ttl_are_the_installations() -> None:
    settings = Settings(job_priority_class="batch", job_ttl_seconds=600)
    (job,) = artifact.decide(source(), settings, NOW).create
    assert job["spec"]["ttlSecondsAfterFinished"] == 600
    assert job["spec"]["template"]["spec"]["priorityClassName"] == "batch"
    (plain,) = artifact.decide(source(), SETTINGS, NOW).create
    assert plain["spec"]["ttlSecondsAfterFinished"] == 86400
    assert "priorityClassName" not in plain["spec"]["template"]["spec"]
