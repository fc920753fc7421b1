"""What serves while something else is wished, scaled, suspended or measured: passes over a served model."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway import drift
from slipway.observe.observed import JobObserved, ModelObserved
from slipway.passes import model
from slipway.passes.outcome import Outcome
from tests.support.stage_results import RESULTS
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition, created, ended, planned

Raw = dict[str, Any]
GENERATIONS = itertools.count(2)
"""Specs are kept by uid and generation."""
READY = {
    "conditions": [{"type": "Ready", "status": "True", "reason": "Built", "message": ""}],
    "quality": {"loss": "7.2%"},
    "sizeBytes": 1,
}


def artifact(raw: Raw) -> Raw:
    name = raw["metadata"]["name"]
    status = READY | {"digest": f"sha256:{'5' * 64}", "location": {"claim": name, "path": "published"}}
    return accepted(raw, status=status)


def child(raw: Raw, count: int = 1) -> Raw:
    """The child as the cluster holds it, all its pods answering."""
    held = accepted(drift.stamped(raw))
    if raw["kind"] != "Deployment":
        return held
    held["metadata"] |= {"generation": 1, "resourceVersion": "7"}
    held["spec"] = {"replicas": count, **held["spec"]}
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return {**held, "status": {"observedGeneration": 1, **dict.fromkeys(names, held["spec"]["replicas"])}}


def decide(seen: ModelObserved, **spec: Any) -> tuple[ModelObserved, Outcome]:
    """A pass over the model with changed fields of the spec, and what is seen once its status is written."""
    whole = {**seen.model["spec"], **spec}
    meta = {**seen.model["metadata"], "generation": next(GENERATIONS)}
    seen = replace(seen, model={**seen.model, "metadata": meta, "spec": whole})
    outcome = model.decide(seen, SETTINGS, NOW)
    return replace(seen, model={**seen.model, "status": outcome.status}), outcome


def served(**spec: Any) -> ModelObserved:
    """A model that is served and measured; nothing is left to do."""
    seen = planned()
    seen, outcome = decide(seen)
    seen = replace(
        seen, artifacts={raw["metadata"]["name"]: artifact(raw) for raw in outcome.create}, jobs=()
    )
    seen, outcome = decide(seen, **spec)
    seen = replace(seen, children=tuple(child(raw) for raw in outcome.apply))
    seen, outcome = decide(seen)
    assert created(outcome) == ["Job"]
    job = ended(outcome.create[0], 0, RESULTS["benchmark"])
    seen, outcome = decide(replace(seen, jobs=(job,)))
    assert outcome.requeue_after is None
    assert condition(outcome, "Ready")[0] == "True"
    return replace(seen, jobs=(job,))


def without(seen: ModelObserved, kind: str) -> ModelObserved:
    return replace(seen, children=tuple(raw for raw in seen.children if raw["kind"] != kind))


def deployed(seen: ModelObserved, *, spec: Raw | None = None, **status: int) -> ModelObserved:
    """The same with another Deployment."""
    return replace(
        seen,
        children=tuple(
            {**raw, "spec": {**raw["spec"], **(spec or {})}, "status": {**raw["status"], **status}}
            if raw["kind"] == "Deployment"
            else raw
            for raw in seen.children
        ),
    )


def of_kind(outcome: Outcome, kind: str) -> Raw | None:
    return next((raw for raw in outcome.apply if raw["kind"] == kind), None)


OTHERS = [
    {"model": {"source": "hf://acme/other"}},
    {"optimize": {"level": "Q9_Z"}},
    {"optimize": {"maxQualityLoss": "1%"}},
    {"engine": {"args": {"port": "1"}}},
]


@pytest.mark.parametrize("other", OTHERS, ids=["inspecting", "wrong level", "gate", "wrong argument"])
def test_what_serves_heals_and_scales_while_something_else_is_wished(other: Raw) -> None:
    seen, outcome = decide(without(served(), "Service"), **other, replicas=3)
    assert condition(outcome, "Ready")[0] == "False"
    assert condition(outcome, "Available")[:2] == ("True", "Serving")
    assert of_kind(outcome, "Service") is not None
    wished, runs = of_kind(outcome, "Deployment"), next(r for r in seen.children if r["kind"] == "Deployment")
    assert wished is not None
    assert wished["spec"]["replicas"] == 3
    assert wished["spec"]["template"] == runs["spec"]["template"]
    assert wished["metadata"]["annotations"] == {
        "slipway.dev/revision": runs["metadata"]["annotations"]["slipway.dev/revision"]
    }
    assert outcome.delete == ()


@pytest.mark.parametrize("other", OTHERS, ids=["inspecting", "wrong level", "gate", "wrong argument"])
def test_nothing_is_written_to_what_serves_well(other: Raw) -> None:
    seen, outcome = decide(served(), **other)
    held = {(raw["kind"], raw["metadata"]["name"]): raw for raw in seen.children}
    assert of_kind(outcome, "Deployment") is None
    for raw in outcome.apply:
        assert drift.settled(drift.stamped(raw), held[raw["kind"], raw["metadata"]["name"]])


def test_a_deleted_deployment_comes_back_while_another_model_is_inspected() -> None:
    seen = served()
    revision = next(r for r in seen.children if r["kind"] == "Deployment")["metadata"]["annotations"]
    seen, outcome = decide(without(seen, "Deployment"), model={"source": "hf://acme/other"})
    back = of_kind(outcome, "Deployment")
    assert back is not None
    assert back["metadata"]["annotations"]["slipway.dev/revision"] == revision["slipway.dev/revision"]
    assert condition(outcome, "Available")[0] == "False"


def test_a_first_build_asks_for_no_serving_children() -> None:
    _, outcome = decide(planned())
    assert of_kind(outcome, "Deployment") is None
    assert of_kind(outcome, "Service") is None


def test_suspended_says_what_answers_and_writes_nothing() -> None:
    _, outcome = decide(deployed(served(), availableReplicas=0), suspend=True)
    assert condition(outcome, "Available")[0] == "False"
    assert condition(outcome, "Ready")[0] == "False"
    assert (outcome.apply, outcome.create, outcome.delete) == ((), (), ())
    _, outcome = decide(without(served(), "Deployment"), suspend=True)
    assert condition(outcome, "Available")[0] == "False"


def test_autoscaling_begins_with_its_minimum_and_is_handed_over_once() -> None:
    seen = served()
    seen, outcome = decide(
        deployed(seen, spec={"replicas": 0}), autoscaling={"minReplicas": 2, "maxReplicas": 4}
    )
    assert outcome.keep_replicas is not None
    assert outcome.keep_replicas["spec"]["replicas"] == 2
    seen = replace(seen, children=tuple(child(raw, 2) for raw in outcome.apply))
    _, outcome = decide(seen)
    assert outcome.keep_replicas is None
    # A foreign autoscaler of that name: ours never comes, and nothing is written again for it.
    _, outcome = decide(without(seen, "HorizontalPodAutoscaler"))
    assert outcome.keep_replicas is None
    _, outcome = decide(deployed(seen, spec={"replicas": 0}))
    assert outcome.keep_replicas is not None


def test_a_ready_model_stays_ready_while_it_is_scaled() -> None:
    seen, _ = decide(served(autoscaling={"minReplicas": 1, "maxReplicas": 4}))
    more = deployed(seen, spec={"replicas": 3}, replicas=3, updatedReplicas=3, availableReplicas=1)
    seen, outcome = decide(more)
    assert condition(outcome, "Ready")[0] == "True"
    assert condition(outcome, "Progressing")[:2] == ("True", "RollingOut")
    _, outcome = decide(deployed(seen, availableReplicas=0))
    assert condition(outcome, "Ready")[0] == "False"


def test_a_rollout_is_not_ready() -> None:
    _, outcome = decide(served(), engine={"args": {"poll": "0"}})
    assert condition(outcome, "Ready")[:2] == ("False", "RollingOut")


def test_other_pods_of_the_same_revision_are_measured_anew() -> None:
    seen, outcome = decide(served(), engine={"args": {"poll": "0"}})
    seen, outcome = decide(replace(seen, children=tuple(child(raw) for raw in outcome.apply)))
    assert created(outcome) == ["Job"]
    assert outcome.create[0]["metadata"]["name"].endswith("-2")
    assert outcome.status is not None
    figures = [one for one in outcome.status["checklist"]["results"] if one["check"] == "throughput"]
    assert figures[0]["result"] == "SKIP"
    jobs = (*seen.jobs, ended(outcome.create[0], 0, RESULTS["benchmark"]))
    _, outcome = decide(replace(seen, jobs=jobs))
    assert condition(outcome, "Progressing")[:2] == ("False", "Settled")


def test_the_retry_annotation_measures_again_what_failed_and_nothing_else() -> None:
    seen = served()
    model_status = seen.model["status"]
    job: JobObserved = seen.jobs[0]
    raw = {**job.job, "status": {}, "metadata": dict(job.job["metadata"])}
    failed = ended(raw, 65, {"ok": False, "reason": "NoConfig", "message": "x"})
    unmeasured = {key: value for key, value in model_status.items() if key != "benchmark"}
    broken = replace(seen, model={**seen.model, "status": unmeasured}, jobs=(failed,))
    broken, outcome = decide(broken)
    assert created(outcome) == []
    assert outcome.status is not None
    assert outcome.status["benchmark"]["tool"].startswith("failed: ")

    def asked(given: ModelObserved) -> Outcome:
        meta = {**given.model["metadata"], "annotations": {"slipway.dev/retry": "1"}}
        later = replace(given, model={**given.model, "metadata": meta})
        return model.decide(later, SETTINGS, NOW + timedelta(hours=1))

    assert created(model.decide(broken, SETTINGS, NOW + timedelta(hours=1))) == []
    assert created(asked(broken)) == ["Job"]
    assert created(asked(seen)) == []
