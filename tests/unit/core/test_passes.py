"""The pure passes: what is written for what is seen, without any cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.observe.observed import (
    ArtifactObserved,
    Credential,
    JobObserved,
    ModelObserved,
    NodeObserved,
    User,
)
from slipway.passes import artifact, model
from slipway.passes.outcome import Outcome
from slipway.passes.results import relative_loss
from slipway.passes.tries import engine_symptoms
from slipway.plan.facts import NodeFacts
from slipway.plan.failures import judge
from slipway.settings import Settings
from slipway.status import timestamp
from tests.support.stage_results import INSPECTED, RESULTS

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SETTINGS = Settings()
NODE = NodeObserved(NodeFacts("n", "amd64", 4, 8 << 30, 50 << 30, ready=True), {"Ready": "True"})
Raw = dict[str, Any]


def mdl(**spec: Any) -> Raw:
    meta = {"name": "qwen", "namespace": "n", "uid": f"uid-{json.dumps(spec)}", "generation": 1}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": meta | {"creationTimestamp": timestamp(NOW)},
        "spec": {"model": {"source": "hf://acme/model"}} | spec,
    }


def condition(outcome: Outcome, kind: str) -> tuple[str, str, str]:
    assert outcome.status is not None
    found = next(one for one in outcome.status["conditions"] if one["type"] == kind)
    return found["status"], found["reason"], found["message"]


def created(outcome: Outcome) -> list[str]:
    return [raw["kind"] for raw in outcome.create]


def accepted(raw: Raw, **changes: Any) -> Raw:
    """What the API server would hold of an object that was created."""
    meta = {"uid": f"uid-{raw['metadata']['name']}", "creationTimestamp": timestamp(NOW)}
    return {**raw, "metadata": {**raw["metadata"], **meta}, **changes}


def ended(job: Raw, code: int, result: Any, *, kind: str = "") -> JobObserved:
    """A Job whose pod ended."""
    kind = kind or ("Complete" if code == 0 else "Failed")
    done = {"type": kind, "status": "True", "lastTransitionTime": timestamp(NOW)}
    message = result if isinstance(result, str) else json.dumps(result)
    state = {"terminated": {"exitCode": code, "message": message, "reason": "Error" if code else "Completed"}}
    pod = {
        "metadata": {"name": "p", "creationTimestamp": timestamp(NOW)},
        "spec": {"containers": [{"name": "stage", "image": "i"}]},
        "status": {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"state": state}]},
    }
    return JobObserved(accepted(job, status={"conditions": [done]}), (pod,))


def first() -> tuple[ModelObserved, Outcome]:
    seen = ModelObserved(mdl(), nodes=(NODE,))
    return seen, model.decide(seen, SETTINGS, NOW)


def planned() -> ModelObserved:
    """A model whose plan is pinned."""
    seen, outcome = first()
    inspected = replace(seen, jobs=(ended(outcome.create[0], 0, INSPECTED),))
    pinned = model.decide(inspected, SETTINGS, NOW)
    assert created(pinned) == ["ControllerRevision"]
    return replace(inspected, revisions=(accepted(pinned.create[0]),))


def test_the_first_pass_asks_for_the_inspection_behind_its_network_policy() -> None:
    _, outcome = first()
    assert created(outcome) == ["Job"]
    assert [raw["kind"] for raw in outcome.apply] == ["NetworkPolicy"]
    assert condition(outcome, "Ready")[:2] == ("False", "Inspecting")
    assert condition(outcome, "SourceResolved")[:2] == ("Unknown", "Inspecting")
    assert condition(outcome, "Planned")[:2] == ("Unknown", "Waiting")
    assert outcome.status is not None
    assert outcome.status["progress"] == "Inspecting"
    assert outcome.notes == ()


def test_the_same_seen_gives_the_same_written() -> None:
    seen = planned()
    once = model.decide(seen, SETTINGS, NOW)
    kept = {**seen.model, "status": once.status}
    again = model.decide(replace(seen, model=kept), SETTINGS, NOW + timedelta(hours=1))
    assert again.status == once.status
    assert again.notes == ()


def test_the_plan_is_pinned_before_an_artifact_is_asked_for() -> None:
    outcome = model.decide(planned(), SETTINGS, NOW)
    assert created(outcome) == ["ModelArtifact"] * 3
    assert condition(outcome, "Planned")[:2] == ("True", "Decided")
    assert {note.reason for note in outcome.notes} == {"Resolved", "Decided"}


def test_a_wrong_spec_is_said_and_nothing_is_done() -> None:
    outcome = model.decide(ModelObserved(mdl(optimize={"level": "Q9_Z"}), nodes=(NODE,)), SETTINGS, NOW)
    assert condition(outcome, "Ready")[1] == "UnknownLevel"
    assert condition(outcome, "Progressing")[0] == "False"
    assert (outcome.create, outcome.apply, outcome.delete, outcome.requeue_after) == ((), (), (), None)


def test_a_missing_secret_is_said_before_a_job_is_made() -> None:
    raw = mdl(model={"source": "hf://acme/model", "secretRef": {"name": "hub"}})
    seen = ModelObserved(raw, nodes=(NODE,), credential=Credential("hub", ""))
    outcome = model.decide(seen, SETTINGS, NOW)
    assert condition(outcome, "Ready")[1] == "SecretNotFound"
    assert created(outcome) == []
    assert outcome.requeue_after is not None
    there = model.decide(replace(seen, credential=Credential("hub", "7")), SETTINGS, NOW)
    assert created(there) == ["Job"]


def test_a_permanent_failure_stands_until_its_circumstances_change() -> None:
    raw = mdl(model={"source": "hf://acme/model", "secretRef": {"name": "hub"}})
    seen = ModelObserved(raw, nodes=(NODE,), credential=Credential("hub", "7"))
    job = model.decide(seen, SETTINGS, NOW).create[0]
    said = {"ok": False, "reason": "TokenRejected", "message": "the token is wrong"}
    failed = model.decide(replace(seen, jobs=(ended(job, 77, said),)), SETTINGS, NOW)
    assert failed.status is not None
    assert failed.status["failure"]["reason"] == "TokenRejected"
    assert created(failed) == []
    # The Job is long gone; the failure is not.
    later = replace(seen, model={**raw, "status": failed.status})
    still = model.decide(later, SETTINGS, NOW + timedelta(days=2))
    assert (created(still), condition(still, "Ready")[1]) == ([], "TokenRejected")
    corrected = model.decide(replace(later, credential=Credential("hub", "8")), SETTINGS, NOW)
    assert created(corrected) == ["Job"]
    assert corrected.status is not None
    assert "failure" not in corrected.status


def test_no_inspection_for_a_commit_that_is_known() -> None:
    known = planned().revisions[0]
    raw = mdl(model={"source": "hf://acme/model", "revision": "c" * 40})
    outcome = model.decide(ModelObserved(raw, nodes=(NODE,), known=known), SETTINGS, NOW)
    assert created(outcome) == ["ControllerRevision"]


def test_a_suspended_model_is_left_alone() -> None:
    outcome = model.decide(ModelObserved(mdl(suspend=True), nodes=(NODE,)), SETTINGS, NOW)
    assert (created(outcome), outcome.apply) == ([], ())
    assert condition(outcome, "Progressing")[:2] == ("False", "Suspended")


def source(**status: Any) -> ArtifactObserved:
    """The source artifact of a planned model, with its claim."""
    seen = planned()
    raw = accepted(model.decide(seen, SETTINGS, NOW).create[0])
    observed = ArtifactObserved({**raw, "status": {}}, (User(seen.model, seen.revisions[0], planned=True),))
    claim = next(one for one in artifact.decide(observed, SETTINGS, NOW).create if "Claim" in one["kind"])
    return replace(observed, artifact={**raw, "status": status}, claim=accepted(claim))


def test_a_job_follows_the_claim_then_the_result_is_kept() -> None:
    seen = source()
    outcome = artifact.decide(seen, SETTINGS, NOW)
    assert created(outcome) == ["Job"]
    done = artifact.decide(
        replace(seen, jobs=(ended(outcome.create[0], 0, RESULTS["fetch"]),)), SETTINGS, NOW
    )
    assert done.status is not None
    assert done.status["completed"] == ["fetch"]
    assert done.status["digest"] == RESULTS["fetch"]["digest"]
    assert condition(done, "Ready")[:2] == ("True", "Built")
    assert "progress" not in done.status


def test_progress_is_what_the_running_job_says() -> None:
    seen = source()
    job = accepted(artifact.decide(seen, SETTINGS, NOW).create[0], status={})
    pod = {"metadata": {"name": "p"}, "spec": {}, "status": {"phase": "Running"}}
    tail = 'SLIPWAY-PROGRESS {"stage":"fetch","percent":43,"bytesDone":1,"bytesTotal":2}'
    outcome = artifact.decide(replace(seen, jobs=(JobObserved(job, (pod,), tail),)), SETTINGS, NOW)
    assert outcome.status is not None
    assert outcome.status["progress"] == {
        "stage": "fetch",
        "percent": 43,
        "bytesDone": 1,
        "bytesTotal": 2,
        "attempt": 1,
    }
    assert outcome.requeue_after == 5.0
    silent = replace(
        seen, artifact={**seen.artifact, "status": outcome.status}, jobs=(JobObserved(job, (pod,)),)
    )
    kept = artifact.decide(silent, SETTINGS, NOW)  # its pod just ended: there is no log to read any more
    assert kept.status is not None
    assert kept.status["progress"] == outcome.status["progress"]


def test_a_lost_claim_begins_anew() -> None:
    seen = source(completed=["fetch"], digest="sha256:x", sizeBytes=1)
    job = accepted(artifact.decide(source(), SETTINGS, NOW).create[0])
    done = ended(job, 0, RESULTS["fetch"])
    lost = replace(seen, claim=None, jobs=(done,))
    outcome = artifact.decide(lost, SETTINGS, NOW)
    # First the status, then a claim: an empty one is never called ready, whenever the operator dies.
    assert created(outcome) == []
    assert outcome.delete == (done.job,)
    assert outcome.status is not None
    assert "digest" not in outcome.status
    assert condition(outcome, "Ready")[:2] == ("False", "Building")
    later = replace(lost, artifact={**seen.artifact, "status": outcome.status})
    again = artifact.decide(later, SETTINGS, NOW)
    assert created(again) == ["PersistentVolumeClaim"]
    # A success in another claim counts for nothing.
    other = accepted(again.create[0])
    other["metadata"]["uid"] = "another"
    stale = artifact.decide(replace(later, claim=other), SETTINGS, NOW)
    assert (created(stale), stale.delete) == ([], (done.job,))
    assert created(artifact.decide(replace(later, claim=other, jobs=()), SETTINGS, NOW)) == ["Job"]


@pytest.mark.parametrize("why", ["going", "earlier"])
def test_a_claim_in_the_way_is_waited_for_and_its_holders_are_named(why: str) -> None:
    seen = source()
    assert seen.claim is not None
    going = {"deletionTimestamp": timestamp(NOW)} if why == "going" else {"ownerReferences": [{"uid": "x"}]}
    claim = {**seen.claim, "metadata": {**seen.claim["metadata"], **going}}
    pod = {"metadata": {"name": "qwen-0"}, "status": {"phase": "Running"}}
    ended_job = {"kind": "Job", "metadata": {"name": "j"}}
    held = replace(seen, claim=claim, holders=(pod,), holding=(ended_job,))
    outcome = artifact.decide(held, SETTINGS, NOW)
    assert created(outcome) == []
    assert outcome.delete == (ended_job,)
    assert condition(outcome, "Ready")[1] == "WaitingForClaim"
    assert "qwen-0" in condition(outcome, "Ready")[2]
    assert outcome.requeue_after is not None


def test_owners_follow_the_users_and_nobody_means_gone() -> None:
    seen = source()
    other = {**mdl(), "metadata": {**mdl()["metadata"], "name": "twin", "uid": "twin"}}
    users = (*seen.users, User(other, seen.users[0].revision, planned=True))
    shared = artifact.decide(replace(seen, users=users), SETTINGS, NOW)
    assert shared.owners is not None
    assert {ref["name"] for ref in shared.owners} == {"qwen", "twin"}
    assert not any(ref.get("controller") for ref in shared.owners)
    left = replace(seen, users=(User(seen.users[0].model, None, planned=True),))
    assert artifact.decide(left, SETTINGS, NOW).delete == ()
    later = NOW + timedelta(minutes=5)
    gone = artifact.decide(left, SETTINGS, later)
    assert gone.delete == (seen.artifact,)
    assert [note.reason for note in gone.notes] == ["Unused"]
    bare = {**seen.artifact, "metadata": {**seen.artifact["metadata"], "labels": {}}}
    assert artifact.decide(replace(left, artifact=bare), SETTINGS, later).delete == ()
    unplanned = replace(seen, users=(User(seen.users[0].model, None, planned=False),))
    assert artifact.decide(unplanned, SETTINGS, later).delete == ()


def test_a_child_waits_for_its_parent() -> None:
    seen = planned()
    raw = accepted(model.decide(seen, SETTINGS, NOW).create[1])
    observed = ArtifactObserved(raw, (User(seen.model, seen.revisions[0], planned=True),))
    outcome = artifact.decide(observed, SETTINGS, NOW)
    assert created(outcome) == []
    assert condition(outcome, "Ready")[1] == "WaitingForParent"


@pytest.mark.parametrize(
    ("perplexity", "base", "loss"),
    [
        ("14.81", "13.82", "7.2%"),
        ("13.82", "13.82", "0.0%"),
        ("13.80", "13.82", "-0.1%"),
        ("inf", "13", None),
        ("x", "1", None),
    ],
)
def test_relative_loss(perplexity: str, base: str, loss: str | None) -> None:
    assert relative_loss(perplexity, base) == loss


def test_an_engines_last_words_are_read_from_its_last_state() -> None:
    before = {
        "terminated": {"exitCode": 1, "message": "error: unknown model architecture", "reason": "Error"}
    }
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}
    container = {"name": "engine", "image": "i", "ready": False, "state": waiting, "lastState": before}
    pod = {"metadata": {"name": "p"}, "spec": {}, "status": {"containerStatuses": [container]}}
    verdict = judge(engine_symptoms(pod, NOW))
    assert verdict is not None
    assert verdict.reason == "CrashLoop"
    assert "unknown model architecture" in verdict.message


def test_a_deadline_of_a_pod_that_never_ran_is_no_failure_of_the_stage() -> None:
    seen, outcome = first()
    job = accepted(outcome.create[0], status={})
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}
    container = {"name": "stage", "image": "reg/x:1", "state": waiting}
    pod = {
        "metadata": {"name": "p"},
        "spec": {},
        "status": {"phase": "Pending", "containerStatuses": [container]},
    }
    said = model.decide(replace(seen, jobs=(JobObserved(job, (pod,)),)), SETTINGS, NOW)
    now, count = NOW, 3
    for _ in range(4):  # tries that used up their deadline, more than a bug is given
        job["metadata"]["annotations"] |= {"slipway.dev/try": str(count), "slipway.dev/attempt": str(count)}
        dead = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
        dead["lastTransitionTime"] = timestamp(now)
        gone = JobObserved({**job, "status": {"conditions": [dead]}})
        held = replace(seen, model={**seen.model, "status": said.status}, jobs=(gone,))
        said = model.decide(held, SETTINGS, now)
        assert said.status is not None
        assert "failure" not in said.status
        assert condition(said, "SourceResolved")[1] == "ImagePullFailed"
        assert "manifest unknown" in condition(said, "SourceResolved")[2]
        now, count = now + timedelta(hours=1), count + 1
        said = model.decide(held, SETTINGS, now)
        assert created(said) == ["Job"]


def test_a_container_that_is_not_made_names_its_volumes() -> None:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp(NOW)}
    container = {"name": "engine", "image": "i", "state": {"waiting": {"reason": "ContainerCreating"}}}
    volumes = [
        {"name": "model", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "ca", "configMap": {"name": "root-ca"}},
        {"name": "t", "secret": {"secretName": "hub", "optional": True}},
    ]
    status = {"phase": "Pending", "conditions": [scheduled], "containerStatuses": [container]}
    pod = {"metadata": {"name": "p"}, "spec": {"volumes": volumes}, "status": status}
    assert judge(engine_symptoms(pod, NOW + timedelta(seconds=30))) is None
    verdict = judge(engine_symptoms(pod, NOW + timedelta(seconds=90)))
    assert verdict is not None
    assert verdict.reason == "ContainerCreating"
    assert "(PersistentVolumeClaim c, ConfigMap root-ca)" in verdict.message


def test_what_is_not_ready_moves_to_the_store_of_the_present_spec() -> None:
    seen = planned()
    artifacts = {raw["metadata"]["name"]: accepted(raw) for raw in model.decide(seen, SETTINGS, NOW).create}
    other = {"storageClassName": "wrong"}
    moved = {name: {**raw, "spec": {**raw["spec"], "store": other}} for name, raw in artifacts.items()}
    outcome = model.decide(replace(seen, artifacts=moved), SETTINGS, NOW)
    assert list(outcome.delete) == list(moved.values())
    assert condition(outcome, "ArtifactReady")[1] == "Building"
    # What is ready, or shared, stays, and that is said.
    first = next(iter(moved))
    ready = [{"type": "Ready", "status": "True", "reason": "Built", "message": ""}]
    stays = {**moved, first: {**moved[first], "status": {"conditions": ready}}}
    outcome = model.decide(replace(seen, artifacts=stays), SETTINGS, NOW)
    assert stays[first] not in outcome.delete
    twin = {"kind": "ModelDeployment", "name": "twin", "uid": "twin", "apiVersion": "slipway.dev/v1alpha1"}
    for raw in moved.values():
        raw["metadata"]["ownerReferences"].append(twin)
    outcome = model.decide(replace(seen, artifacts=moved), SETTINGS, NOW)
    assert outcome.delete == ()
    assert first in condition(outcome, "ArtifactReady")[2]
    assert "delete it to move" in condition(outcome, "ArtifactReady")[2]


def test_a_refusal_names_whose_secret_it_was_asked_with() -> None:
    seen = replace(source(), credential=Credential("hub", "7", "twin"))
    job = artifact.decide(seen, SETTINGS, NOW).create[0]
    said = {"ok": False, "reason": "GatedRepository", "message": "name a token"}
    outcome = artifact.decide(replace(seen, jobs=(ended(job, 77, said),)), SETTINGS, NOW)
    message = condition(outcome, "Ready")[2]
    assert "Secret hub of ModelDeployment twin; its key must be called token" in message
    kept = replace(seen, artifact={**seen.artifact, "status": outcome.status})
    assert condition(artifact.decide(kept, SETTINGS, NOW), "Ready")[2] == message
