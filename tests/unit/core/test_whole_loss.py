"""What a whole chain lost: of several steps, and of what a registry has with parents that are not ready."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from slipway.observe.observed import ModelObserved
from slipway.passes import artifact, model, results
from tests.unit.core import test_companions as companions
from tests.unit.core.test_merged import MERGING
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition, ended, mdl, planned
from tests.unit.core.test_remote_store import FOUND, IMAGE, OCI, env, job_in, made_by, observed, pinned
from tests.unit.core.test_upkeep import GENERATIONS, READY, of_kind

Raw = dict[str, Any]
QUALITY = {
    "perplexity": "14.8",
    "basePerplexity": "14.7",
    "loss": "1.0%",
    "tokens": 4096,
    "seconds": "1",
    "textDigest": "x",
}
PRUNED = {
    "method": "gguf",
    "level": "Q4_K_M",
    "prune": {"method": "magnitude", "sparsity": "50%"},
    "maxQualityLoss": "5%",
    "compare": ["Q8_0"],
}
BUILDING = {"conditions": [{"type": "Ready", "status": "False", "reason": "Building", "message": ""}]}
RESULT = {"perplexity": "11", "basePerplexity": "10", "tokens": 1, "seconds": "1", "textDigest": "x"}


def wished(optimize: Raw) -> ModelObserved:
    """A pinned model that is to be optimised so, with a registry for what is served."""
    seen = planned()
    raw = mdl(store=OCI, optimize=optimize)
    meta = {**seen.model["metadata"], "generation": next(GENERATIONS), "uid": f"w{next(GENERATIONS)}"}
    ours = {**seen.model, "spec": raw["spec"], "metadata": meta}
    seen = replace(seen, model=ours, revisions=(), known=planned().revisions[0])
    (made,) = (one for one in model.decide(seen, SETTINGS, NOW).create if one["kind"] == "ControllerRevision")
    return replace(seen, revisions=(accepted(made),), known=None)


def found(made: Raw, **more: Any) -> Raw:
    status = {"quality": QUALITY, "digest": "sha256:5", "sizeBytes": 5, "location": {"image": IMAGE}, **more}
    return {**accepted(made), "status": READY | status}


@pytest.mark.parametrize(
    ("kept", "opens", "words"),
    [
        ({}, False, "SPARSE: what it lost was measured where it was made"),
        ({"chainLoss": "60.0%"}, False, "loses 60.0%"),
        ({"chainLoss": "2.0%"}, True, ""),
        ({"qualityUnknown": "no memory"}, False, "no memory"),
    ],
)
@pytest.mark.parametrize("parents", ["absent", "without status", "being built"])
def test_what_a_registry_has_says_what_the_whole_chain_lost(
    kept: Raw, parents: str, *, opens: bool, words: str
) -> None:
    seen = wished(PRUNED)
    (made,) = made_by(seen)
    held = {made["metadata"]["name"]: found(made, **kept)}
    others = [one for one in made_by(replace(seen, artifacts=held)) if one != made]
    for one in others if parents != "absent" else []:
        status = {"status": BUILDING} if parents == "being built" else {}
        held[one["metadata"]["name"]] = accepted(one) | status
    outcome = model.decide(replace(seen, artifacts=held), SETTINGS, NOW)
    assert (of_kind(outcome, "Deployment") is not None) is opens
    assert words in condition(outcome, "ArtifactReady")[2]
    assert (outcome.status or {}).get("qualityLoss") == kept.get("chainLoss")


def test_a_matrix_that_was_never_made_here_costs_nothing() -> None:
    seen = wished({"level": "IQ2_M", "method": "gguf", "maxQualityLoss": "5%"})
    (made,) = made_by(seen)
    seen = replace(seen, artifacts={made["metadata"]["name"]: found(made)})
    assert of_kind(model.decide(seen, SETTINGS, NOW), "Deployment") is not None


def test_a_merge_that_was_never_made_here_costs_nothing() -> None:
    raw = companions.mdl(MERGING)
    raw["metadata"]["uid"] = "merged-and-kept"
    raw["spec"] |= {"optimize": {"maxQualityLoss": "5%"}, "store": OCI}
    seen, outcome = companions.pinned(raw, companions.inspected(), companions.ADAPTER)
    seen = replace(seen, revisions=(accepted(outcome.create[0]),))
    (made,) = (one for one in companions.decide(seen).create if one["kind"] == "ModelArtifact")
    outcome = companions.decide(replace(seen, artifacts={made["metadata"]["name"]: found(made)}))
    assert of_kind(outcome, "Deployment") is not None
    assert (outcome.status or {})["qualityLoss"] == "1.0%"


def of(method: str, level: str | None, **status: Any) -> Raw:
    recipe = {"method": method, **({"level": level} if level else {})}
    return {"metadata": {"name": method}, "spec": {"recipe": recipe}, "status": status}


@pytest.mark.parametrize(
    ("made", "parent", "whole"),
    [
        (of("prune", "SPARSE"), of("source", None), "10.0%"),
        (of("gguf", "F16"), of("prune", "SPARSE", chainLoss="10.0%"), "10.0%"),
        (of("gguf", "Q4_K_M"), of("gguf", "F16", chainLoss="10.0%"), "21.0%"),
        (of("merge", "MERGED"), of("source", None), "0.0%"),
        (of("gguf", "Q4_K_M"), of("gguf", "F16"), None),
        (of("gguf", "Q4_K_M"), None, None),
    ],
)
def test_the_chain_above_is_counted(made: Raw, parent: Raw | None, whole: str | None) -> None:
    assert results.record(made, parent, "evaluate", RESULT)["chainLoss"] == whole


def test_of_a_loss_that_is_not_known_no_chain_is() -> None:
    unmeasured = {**RESULT, "basePerplexity": None, "noBase": "too large"}
    told = results.record(of("gguf", "Q4_K_M"), of("source", None), "evaluate", unmeasured)
    assert (told["chainLoss"], told["qualityUnknown"]) == (None, "too large")


def test_next_to_nothing_together_is_no_negative_loss() -> None:
    assert results.together(["10.0%", "-9.1%"]) == "0.0%"


@pytest.mark.parametrize(
    "measured",
    [{"quality": QUALITY, "chainLoss": "60.0%"}, {"qualityUnknown": "no memory"}, {"quality": QUALITY}],
)
def test_what_is_pushed_comes_back_as_it_was(measured: Raw) -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    before = {"completed": ["recall", "quantize", "evaluate", "publish"], "digest": "sha256:5"}
    parent = {**accepted(made), "status": READY | {"location": {"claim": "f16"}}}
    asked = observed(seen, made, {**before, **measured}, parent=parent)
    first = observed(seen, made, {"completed": ["recall"]}, parent=parent)
    (claim,) = artifact.decide(first, SETTINGS, NOW).create
    pushed = job_in(artifact.decide(replace(asked, claim=accepted(claim)), SETTINGS, NOW))
    kept = json.loads(env(pushed)["SLIPWAY_QUALITY"])
    asked = observed(seen, made)
    job = job_in(artifact.decide(asked, SETTINGS, NOW))
    outcome = artifact.decide(
        replace(asked, jobs=(ended(job, 0, {**FOUND, "quality": kept}),)), SETTINGS, NOW
    )
    status = outcome.status or {}
    told = {key: status[key] for key in ("quality", "chainLoss", "qualityUnknown") if status.get(key)}
    assert told == measured


@pytest.mark.parametrize("status", [None, {}, {"conditions": [], "completed": None}])
def test_what_is_looked_up_needs_no_parent_that_is_ready(status: Raw | None) -> None:
    seen = pinned(OCI)
    (made,) = made_by(seen)
    parent = accepted(made) if status is None else {**accepted(made), "status": status}
    asked = observed(seen, made, {}, parent=parent, inputs={"imatrix": parent})
    job = job_in(artifact.decide(asked, SETTINGS, NOW))
    assert job["metadata"]["name"].endswith("-recall-1")
