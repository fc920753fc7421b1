"""What an evaluation says of an artifact: figures of any form, an unknown loss, too little memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.observe.observed import ArtifactObserved, User
from slipway.passes import artifact, model, results, tries
from slipway.plan.failures import LIMITED_TRIES
from tests.support.stage_results import RESULTS
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition, created, ended, planned

Raw = dict[str, Any]
DIGEST = RESULTS["evaluate"]["textDigest"]


def made(method: str, level: str) -> Raw:
    return {"metadata": {"name": "a"}, "spec": {"recipe": {"method": method, "level": level}}}


def recorded(method: str, level: str, parent: Raw | None = None, **result: str) -> Raw:
    said = {"perplexity": "10.2", "tokens": 4096, "seconds": "1.0", "textDigest": DIGEST}
    return results.record(made(method, level), parent, "evaluate", said | result)


def test_a_level_has_what_its_job_compared() -> None:
    found = recorded("gguf", "Q4_K_M", basePerplexity="10", kld="0.05", kldP99="0.2", topAgreement="86.1%")
    quality = found["quality"]
    assert (quality["loss"], quality["band"]) == ("2.0%", "3-5%")
    assert (quality["kld"], quality["kldP99"], quality["topAgreement"]) == ("0.05", "0.2", "86.1%")
    assert found["qualityUnknown"] is None


def test_safetensors_are_held_against_the_base_of_the_result() -> None:
    found = recorded("awq", "W4A16", basePerplexity="10", kld="0.05")
    assert (found["quality"]["loss"], found["quality"]["band"]) == ("2.0%", "about 3%")


@pytest.mark.parametrize(
    ("tokens", "text", "loss"), [(4096, DIGEST, "2.0%"), (2048, DIGEST, None), (4096, "sha256:other", None)]
)
def test_a_parent_counts_for_the_same_text_and_windows(tokens: int, text: str, loss: str | None) -> None:
    quality = {"perplexity": "10", "tokens": tokens, "textDigest": text}
    parent = {"spec": {"recipe": {"method": "gguf", "level": "F16"}}, "status": {"quality": quality}}
    found = recorded("gguf", "Q4_K_M", parent)
    assert found["quality"]["loss"] == loss
    assert bool(found["qualityUnknown"]) is (loss is None)


def test_without_a_base_the_loss_is_unknown_and_why_is_said() -> None:
    found = recorded("gptq", "W4A16", noBase="the model came quantised (awq): there is no unquantised one")
    assert found["quality"]["loss"] is None
    assert found["quality"]["band"] is None
    assert "came quantised" in found["qualityUnknown"]


@pytest.mark.parametrize(("method", "level"), [("gguf", "F16"), ("gguf", "BF16"), ("merge", "BF16")])
def test_what_is_not_made_smaller_has_no_loss(method: str, level: str) -> None:
    found = recorded(method, level, basePerplexity="10")
    assert found["quality"]["loss"] is None
    assert found["qualityUnknown"] is None


def level() -> ArtifactObserved:
    """The served level, quantised, about to be measured."""
    seen = planned()
    _, raw_f16, raw = model.decide(seen, SETTINGS, NOW).create
    ready = [{"type": "Ready", "status": "True", "reason": "Built", "message": ""}]
    parent = accepted(raw_f16, status={"conditions": ready, "location": {"claim": "c"}})
    users = (User(seen.model, seen.revisions[0], planned=True),)
    observed = ArtifactObserved({**accepted(raw), "status": {}}, users, parent)
    claim = next(one for one in artifact.decide(observed, SETTINGS, NOW).create if "Claim" in one["kind"])
    begun = {**observed.artifact, "status": {"completed": ["quantize"]}}
    return replace(observed, artifact=begun, claim=accepted(claim))


@pytest.mark.parametrize(("reason", "given_up"), [("OutOfMemory", True), ("PerplexityFailed", False)])
def test_a_measure_that_finds_no_memory_costs_the_figures_alone(reason: str, *, given_up: bool) -> None:
    seen = level()
    outcome = artifact.decide(seen, SETTINGS, NOW)
    (job,) = outcome.create
    assert job["spec"]["template"]["spec"]["containers"][0]["command"][-1] == "evaluate"
    said = {"ok": False, "stage": "evaluate", "reason": reason, "message": "it has not enough"}
    job["metadata"]["annotations"] |= {tries.LIMITED: str(LIMITED_TRIES - 1)}
    failed = artifact.decide(replace(seen, jobs=(ended(job, 70, said),)), SETTINGS, NOW)
    assert failed.status is not None
    if not given_up:
        assert failed.status["failure"]["reason"] == reason
        return
    assert failed.status["completed"] == ["quantize", "evaluate"]
    assert "it has not enough" in failed.status["qualityUnknown"]
    assert "failure" not in failed.status
    assert created(failed) == ["Job"], "it is published all the same"
    assert condition(failed, "Ready")[1] == "Building"
