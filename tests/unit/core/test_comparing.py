"""Levels that are only compared: made after the served one answers, kept while they are asked for."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, cast

import pytest

from slipway.kube import Kube
from slipway.observe.observed import ModelObserved
from slipway.observe.observer import Observer
from slipway.passes import model
from slipway.passes.artifact import decide as decide_artifact
from slipway.passes.outcome import Outcome
from slipway.queue import Key
from tests.support.stage_results import FACTS
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition, created, planned
from tests.unit.core.test_upkeep import GENERATIONS, artifact, decide, served

Raw = dict[str, Any]


def rows(outcome: Outcome) -> dict[str, Raw]:
    return {row["level"]: row for row in (outcome.status or {}).get("compare") or ()}


def asked(*levels: str) -> tuple[ModelObserved, Outcome]:
    return decide(served(), optimize={"compare": list(levels)})


def test_levels_are_made_once_the_model_answers() -> None:
    seen, outcome = asked("Q8_0", "Q5_K_M")
    made = {raw["spec"]["recipe"]["level"]: raw for raw in outcome.create}
    assert set(made) == {"Q8_0", "Q5_K_M"}
    f16 = next(name for name in seen.artifacts if "-f16-" in name)
    assert {raw["spec"]["parent"] for raw in made.values()} == {f16}, "the same f16, nothing else is made"
    assert all(ref["name"] == "qwen" for raw in made.values() for ref in raw["metadata"]["ownerReferences"])
    assert condition(outcome, "Ready")[0] == "True"
    assert [(row["level"], row["ready"]) for row in rows(outcome).values()] == [
        ("Q8_0", False), ("Q5_K_M", False),
    ]  # fmt: skip


def test_nothing_slows_down_what_does_not_answer_yet() -> None:
    seen = served()
    waiting = replace(seen, model={**seen.model, "status": {**seen.model["status"], "conditions": []}})
    _, outcome = decide(waiting, optimize={"compare": ["Q8_0"]})
    assert created(outcome) == []
    assert "until the model answers" in rows(outcome)["Q8_0"]["message"]


def test_figures_are_listed_and_failures_only_said() -> None:
    seen, outcome = asked("Q8_0", "Q5_K_M")
    good, bad = (artifact(raw) for raw in outcome.create)
    good["status"] |= {"sizeBytes": 9**9, "quality": {"perplexity": "26.7", "loss": "0.5%", "kld": "0.004"}}
    bad["status"] = {"failure": {"reason": "QuantizationFailed", "message": "llama-quantize refused it"}}
    held = {one["metadata"]["name"]: one for one in (good, bad)}
    _, outcome = decide(replace(seen, artifacts={**seen.artifacts, **held}))
    assert created(outcome) == []
    found = rows(outcome)
    assert found["Q8_0"]["ready"] is True
    assert (found["Q8_0"]["perplexity"], found["Q8_0"]["kld"]) == ("26.7", "0.004")
    assert float(found["Q8_0"]["bitsPerWeight"]) > 0
    assert found["Q5_K_M"]["message"] == "llama-quantize refused it"
    assert condition(outcome, "Ready")[0] == "True"
    _, outcome = decide(replace(seen, artifacts={**seen.artifacts, **held}), optimize={})
    assert rows(outcome) == {}


def test_a_gate_that_stays_shut_does_not_keep_levels_from_being_made() -> None:
    seen = served()
    level = next(name for name in seen.artifacts if "q4-k-m" in name)
    artifacts = {
        name: {**raw, "status": {**raw["status"], "quality": {"loss": "7.2%"} if name == level else {}}}
        for name, raw in seen.artifacts.items()
    }
    optimize = {"compare": ["Q8_0"], "maxQualityLoss": "5%"}
    _, outcome = decide(replace(seen, artifacts=artifacts), optimize=optimize)
    assert condition(outcome, "ArtifactReady")[1] == "QualityBelowGate"
    assert [raw["spec"]["recipe"]["level"] for raw in outcome.create] == ["Q8_0"]


def test_a_store_that_is_too_small_is_said_in_the_row() -> None:
    seen = served()
    _, outcome = decide(seen, optimize={"compare": ["F16"]})
    assert rows(outcome)["F16"]["ready"] is True, "it is there: the level was made of it"
    assert created(outcome) == []


API = "slipway.dev/v1alpha1"


def named(kind: str, name: str, owner: str = "", version: str = "1", **fields: Any) -> Raw:
    ref = {"apiVersion": API, "kind": "ModelDeployment", "name": owner, "uid": f"uid-{owner}"}
    meta = {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": version, "generation": 1}
    api = "apps/v1" if kind == "ControllerRevision" else API
    owners = {"ownerReferences": [ref]} if owner else {}
    return {"apiVersion": api, "kind": kind, "metadata": {**meta, **owners}, **fields}


def comparer(*artifacts: str, version: str = "1") -> Raw:
    """Model m at revision r2, which compares these."""
    compare = [{"level": "IQ2_XS", "artifact": name} for name in artifacts]
    status = {"revision": "r2", "observedGeneration": 1, "compare": compare}
    return named("ModelDeployment", "m", version=version, spec={"suspend": True}, status=status)


def observing(*objects: Raw) -> tuple[Observer, list[Key]]:
    keys: list[Key] = []
    observer = Observer(cast("Kube", None), (), keys.append, time.monotonic)
    for raw in objects:
        observer.remember(raw)
    return observer, keys


def level(name: str, owner: str, parent: str = "", *inputs: str) -> Raw:
    spec = {"parent": parent, "inputs": [{"name": one, "artifact": one} for one in inputs]}
    raw = named("ModelArtifact", name, owner, spec=spec)
    raw["metadata"]["creationTimestamp"] = "2026-11-21T10:00:00Z"
    return raw


def revision(name: str, number: int, *artifacts: str) -> Raw:
    return named("ControllerRevision", name, "m", revision=number, data={"artifacts": list(artifacts)})


async def users_of(observer: Observer, name: str) -> dict[str, str | None]:
    seen = await observer.snapshot_artifact(Key("ModelArtifact", "n", name))
    assert seen is not None
    return {
        user.model["metadata"]["name"]: user.revision["metadata"]["name"] if user.revision else None
        for user in seen.users
    }


@pytest.mark.parametrize("before", ["q8", "other"])
@pytest.mark.parametrize(("compared", "kept"), [("q8", "r2"), ("q5", None)])
async def test_the_current_revision_keeps_what_is_compared(
    before: str, compared: str, kept: str | None
) -> None:
    """Also what an older revision of the history served: that one alone would keep nothing."""
    revisions = (revision("r1", 1, before), revision("r2", 2, "q4"))
    observer, _ = observing(comparer(compared), *revisions, level("q8", "m"))
    assert await users_of(observer, "q8") == {"m": kept}


async def test_a_level_that_another_model_made_is_seen_and_shared() -> None:
    other = named("ModelDeployment", "a", spec={"suspend": True}, status={})
    made = (level("iq2", "a", "f16", "matrix"), level("f16", "a"), level("matrix", "a", "f16"))
    observer, _ = observing(other, comparer("iq2"), revision("r2", 2, "q4"), *made)
    seen = await observer.snapshot_model(Key("ModelDeployment", "n", "m"))
    assert seen is not None
    assert set(seen.artifacts) == {"iq2", "f16", "matrix"}, "nothing of it is asked for again"
    for name in ("iq2", "f16", "matrix"):
        assert await users_of(observer, name) == {"a": None, "m": "r2"}
    shared = await observer.snapshot_artifact(Key("ModelArtifact", "n", "iq2"))
    assert shared is not None
    owners = decide_artifact(shared, SETTINGS, NOW).owners
    assert owners is not None
    assert [one["name"] for one in owners] == ["a", "m"]


async def test_an_importance_matrix_is_kept_for_the_level_that_is_compared() -> None:
    made = (level("iq2", "m", "f16", "matrix"), level("matrix", "m", "f16"))
    observer, _ = observing(comparer("iq2"), revision("r2", 2, "q4", "f16"), *made)
    assert await users_of(observer, "matrix") == {"m": "r2"}


def test_a_level_of_another_model_hears_that_it_is_compared() -> None:
    observer, keys = observing(comparer(), level("q8", "a"))
    keys.clear()
    observer.remember(comparer("q8", version="2"))
    assert Key("ModelArtifact", "n", "q8") in keys


def test_another_wish_wakes_the_artifacts_of_the_one_before() -> None:
    keys: list[Key] = []
    observer = Observer(cast("Kube", None), (), keys.append, time.monotonic)
    ref = {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelDeployment", "name": "m", "uid": "u"}
    meta = {"namespace": "n", "resourceVersion": "1"}
    level = {"apiVersion": ref["apiVersion"], "kind": "ModelArtifact", "spec": {}}
    observer.remember({**level, "metadata": {**meta, "name": "q8", "ownerReferences": [ref]}})
    one = {"apiVersion": ref["apiVersion"], "kind": "ModelDeployment", "spec": {}}
    for version, compare in (("1", [{"artifact": "q8"}]), ("2", [{"artifact": "q8"}]), ("3", [])):
        keys.clear()
        metadata = {**meta, "name": "m", "uid": "u", "resourceVersion": version}
        observer.remember({**one, "metadata": metadata, "status": {"compare": compare, "replicas": version}})
        assert (Key("ModelArtifact", "n", "q8") in keys) == (version in ("1", "3"))


def test_what_pruning_leaves_is_what_is_compared() -> None:
    optimize = {"compare": ["Q8_0"], "prune": {"dropLayers": "50%"}}
    seen = planned()
    meta = {**seen.model["metadata"], "generation": next(GENERATIONS)}
    raw = {**seen.model, "metadata": meta, "spec": {**seen.model["spec"], "optimize": optimize}}
    seen = replace(seen, model=raw, revisions=(), known=seen.revisions[0])
    pinned = next(one for one in model.decide(seen, SETTINGS, NOW).create)
    seen, outcome = decide(replace(seen, revisions=(accepted(pinned),), known=None), replicas=0)
    f16 = next(one for one in outcome.create if one["spec"]["recipe"].get("level") == "F16")
    held = {one["metadata"]["name"]: artifact(one) for one in outcome.create}
    held[f16["metadata"]["name"]]["status"]["sizeBytes"] = 163_000_000
    seen, outcome = decide(replace(seen, artifacts=held))
    (level,) = (one for one in outcome.create if one["spec"]["recipe"].get("level") == "Q8_0")
    assert level["spec"]["expectedBytes"] < f16["spec"]["expectedBytes"] < FACTS["downloadBytes"]
    held[level["metadata"]["name"]] = artifact(level)
    held[level["metadata"]["name"]]["status"]["sizeBytes"] = 86_600_000
    seen, outcome = decide(replace(seen, artifacts=held))
    assert rows(outcome)["Q8_0"]["bitsPerWeight"] == "8.50"
