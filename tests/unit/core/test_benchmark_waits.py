"""A benchmark that can't run: what it waits for is said, and no room for it is no reason to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from slipway.observe.observed import JobObserved, ModelObserved
from slipway.passes import model
from slipway.passes.outcome import Outcome
from slipway.status import timestamp
from tests.support.stage_results import RESULTS
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition, created, ended
from tests.unit.core.test_replaced_jobs import CORRECTED, LATER, UNPULLED, a_pod, unschedulable
from tests.unit.core.test_upkeep import decide, served

Raw = dict[str, Any]
WORDS = "0/1 nodes are available: 1 Insufficient memory."


def measuring(*pods: Raw) -> ModelObserved:
    """A served model whose benchmark was just started."""
    seen = served()
    status = {key: value for key, value in seen.model["status"].items() if key != "benchmark"}
    seen, outcome = decide(replace(seen, model={**seen.model, "status": status}, jobs=()))
    return replace(seen, jobs=(JobObserved(accepted(outcome.create[0], status={}), pods),))


def rule(outcome: Outcome, name: str) -> Raw:
    assert outcome.status is not None
    found = [one for one in outcome.status["checklist"]["results"] if one["check"] == name]
    return dict(found[0])


def test_a_node_without_room_is_no_reason_to_wait() -> None:
    seen = measuring(a_pod(None, unschedulable(WORDS)))
    early = model.decide(seen, SETTINGS, NOW + timedelta(seconds=30))
    assert condition(early, "Progressing")[1] == "Benchmarking"
    outcome = model.decide(seen, SETTINGS, LATER)
    assert outcome.status is not None
    assert outcome.status["benchmark"]["tool"] == f"skipped: no node takes the pod: {WORDS}"
    assert outcome.delete == (seen.jobs[0].job,)
    assert condition(outcome, "Ready")[0] == "True"
    assert condition(outcome, "Progressing")[:2] == ("False", "Settled")
    for name in ("ttft", "throughput", "errors", "metrics-endpoint"):
        assert rule(outcome, name)["result"] == "SKIP"
        assert "Insufficient memory" in rule(outcome, name)["evidence"]
    # It is not tried again until somebody asks for it.
    later = replace(seen, model={**seen.model, "status": outcome.status}, jobs=())
    assert created(model.decide(later, SETTINGS, LATER)) == []
    meta = {**later.model["metadata"], "annotations": {"slipway.dev/retry": "1"}}
    assert created(
        model.decide(replace(later, model={**later.model, "metadata": meta}), SETTINGS, LATER)
    ) == ["Job"]


def test_figures_of_a_model_that_makes_vectors_are_kept_and_no_others_are_invented() -> None:
    seen = measuring()
    plain = RESULTS["benchmark"]
    more = {"inputTokensPerSecond": "900.0", "latencyP50Ms": "12", "latencyP95Ms": "20"}
    for result in (plain, {**plain, "levels": [{**level, **more} for level in plain["levels"]]}):
        job = ended(seen.jobs[0].job, 0, result)
        outcome = model.decide(replace(seen, jobs=(job,)), SETTINGS, NOW)
        assert outcome.status is not None
        assert outcome.status["benchmark"]["levels"] == result["levels"]


def test_what_it_waits_for_is_said_and_a_correction_reaches_it() -> None:
    seen = measuring(a_pod(UNPULLED))
    outcome = model.decide(seen, SETTINGS, NOW)
    assert condition(outcome, "Progressing")[:2] == ("True", "ImagePullFailed")
    assert "manifest unknown" in condition(outcome, "Progressing")[2]
    assert condition(outcome, "Ready")[0] == "True"
    again = model.decide(seen, CORRECTED, NOW)
    assert again.delete == (seen.jobs[0].job,)
    assert again.create[0]["metadata"]["name"].endswith("-benchmark-2")


def test_a_deadline_of_a_pod_that_never_ran_keeps_its_reason() -> None:
    seen = measuring(a_pod(UNPULLED))
    said = model.decide(seen, SETTINGS, NOW)
    dead = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    job = seen.jobs[0].job
    marks = {**job["metadata"]["annotations"], "slipway.dev/try": "3"}
    ended = {
        **job,
        "metadata": {**job["metadata"], "annotations": marks},
        "status": {"conditions": [dead | {"lastTransitionTime": timestamp(NOW)}]},
    }
    over = replace(seen, model={**seen.model, "status": said.status}, jobs=(JobObserved(ended),))
    outcome = model.decide(over, SETTINGS, NOW)
    assert outcome.status is not None
    assert outcome.status["benchmark"]["tool"].startswith("failed: image i can't be pulled: manifest unknown")


def test_what_a_rollout_waited_for_is_not_what_the_benchmark_waits_for() -> None:
    seen = measuring()
    conditions = [
        {**one, "status": "True", "reason": "Unschedulable"} if one["type"] == "Progressing" else one
        for one in seen.model["status"]["conditions"]
    ]
    status = {**seen.model["status"], "conditions": conditions}
    outcome = model.decide(replace(seen, model={**seen.model, "status": status}), SETTINGS, NOW)
    assert condition(outcome, "Progressing")[1] == "Benchmarking"


def test_it_waits_for_pods_that_drain_but_not_for_one_that_is_stuck() -> None:
    seen = served()
    status = {key: value for key, value in seen.model["status"].items() if key != "benchmark"}
    leaving = {
        "metadata": {
            "name": "old",
            "uid": "old",
            "deletionTimestamp": timestamp(NOW + timedelta(seconds=60)),
        },
        "spec": {"containers": [{"name": "engine", "image": "i"}]},
        "status": {"phase": "Running"},
    }
    rolled = replace(
        seen,
        model={**seen.model, "status": status},
        jobs=(),
        engine_pods=(*seen.engine_pods, leaving),
    )
    early = model.decide(rolled, SETTINGS, NOW)
    assert created(early) == []
    assert condition(early, "Progressing")[1] == "Benchmarking"
    assert condition(early, "Ready")[0] == "True"
    assert created(model.decide(rolled, SETTINGS, NOW + timedelta(seconds=61))) == ["Job"]
