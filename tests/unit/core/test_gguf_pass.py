"""A model that comes as GGUF through the pass: pinned, fetched at one level, and never gated blindly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.observe.observed import ModelObserved
from slipway.passes import model
from slipway.passes.outcome import Outcome
from tests.support.stage_results import FACTS, INSPECTED
from tests.unit.core.test_passes import NODE, NOW, SETTINGS, accepted, condition, created, ended, first, mdl
from tests.unit.core.test_upkeep import GENERATIONS, READY, of_kind

Raw = dict[str, Any]
COMES = FACTS | {"architecture": "llama", "quantization": "gguf", "levels": "Q4_1:98362432,Q8_0:145000000/2"}
PUBLISHED = READY | {"digest": "sha256:5", "location": {"claim": "c", "path": "published"}, "quality": None}


def wishing(seen: ModelObserved, **optimize: str) -> ModelObserved:
    """The model as its user changed it."""
    metadata = {**seen.model["metadata"], "generation": next(GENERATIONS)}
    spec = mdl(optimize=optimize)["spec"] if optimize else mdl()["spec"]
    return replace(seen, model={**seen.model, "spec": spec, "metadata": metadata})


def pinned() -> tuple[ModelObserved, Outcome]:
    """After the inspection: what is seen, and what is done."""
    seen, outcome = first()
    inspected = replace(seen, jobs=(ended(outcome.create[0], 0, INSPECTED | {"facts": COMES}),))
    return inspected, model.decide(inspected, SETTINGS, NOW)


def served(gate: str | None) -> Outcome:
    """With the artifact published, and a gate or none."""
    seen, outcome = pinned()
    seen = replace(seen, revisions=(accepted(outcome.create[0]),))
    (artifact,) = model.decide(seen, SETTINGS, NOW).create
    assert artifact["spec"]["recipe"] == {"method": "source", "level": "Q4_1"}
    status = {key: value for key, value in PUBLISHED.items() if value is not None}
    held = {artifact["metadata"]["name"]: accepted(artifact, status=status)}
    gated = wishing(seen, **({"maxQualityLoss": gate} if gate else {}))
    return model.decide(replace(gated, artifacts=held, nodes=(NODE,)), SETTINGS, NOW)


def test_one_artifact_is_made_and_served_as_it_is() -> None:
    seen, outcome = pinned()
    assert created(outcome) == ["ControllerRevision"]
    data = outcome.create[0]["data"]
    assert (data["plan"]["level"], data["plan"]["sourceFiles"]) == ("Q4_1", 1)
    assert len(data["artifacts"]) == 1
    assert seen.model["spec"]["model"]["source"] == data["source"]["uri"]
    deployment = of_kind(served(None), "Deployment")
    assert deployment is not None
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "/models/model.gguf" in args


def test_a_gate_stays_shut_before_what_nobody_can_measure() -> None:
    outcome = served("5%")
    assert of_kind(outcome, "Deployment") is None
    status, reason, message = condition(outcome, "Ready")
    assert (status, reason) == ("False", "QualityUnknown")
    assert "comes as GGUF, at Q4_1" in message
    assert "original weights" in message


@pytest.mark.parametrize(
    ("optimize", "reason", "words"),
    [
        ({"level": "Q6_K"}, "UnknownLevel", "it has Q4_1 (94 MiB), Q8_0 (138 MiB)"),
        ({"method": "fp8"}, "UnsupportedQuantization", "quantised already (gguf)"),
    ],
)
def test_what_the_files_can_not_give_is_said(optimize: dict[str, str], reason: str, words: str) -> None:
    seen, _ = first()
    asked = wishing(seen, **optimize)
    job = model.decide(asked, SETTINGS, NOW).create[0]
    outcome = model.decide(replace(asked, jobs=(ended(job, 0, INSPECTED | {"facts": COMES}),)), SETTINGS, NOW)
    assert condition(outcome, "Ready")[1] == reason
    assert words in condition(outcome, "Ready")[2]
    assert created(outcome) == []
