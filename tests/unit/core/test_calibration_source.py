"""A calibration text of the user's own: inspected, pinned, fetched, read by the Job, and by no engine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from slipway.api import validate
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.manifests.revision import read_pinned
from slipway.passes import companions
from slipway.passes.scene import Scene
from slipway.plan.companions import Wanted, wanted
from tests.support.companions import adapter
from tests.support.stage_results import COMMIT
from tests.unit.core.test_companions import accepted, asked, condition, decide, env, inspected, mdl, pinned
from tests.unit.core.test_companions_built import claims, job_of, ready

TEXT = {"source": "hf://acme/dialogues", "revision": "v2", "samples": 32}
TEXTS = {
    "ok": True,
    "stage": "inspect",
    "commit": COMMIT,
    "facts": {"weightBytes": 0, "downloadBytes": 7_000_000, "license": "cc0-1.0"},
}


def calibrated(**text: Any) -> dict[str, Any]:
    raw = mdl()
    wish = {"method": "awq", "calibration": {**TEXT, **text}}
    # What was read of a spec is known again by the object's uid.
    meta = {**raw["metadata"], "uid": json.dumps(wish)}
    return {**raw, "metadata": meta, "spec": {**raw["spec"], "optimize": wish}}


def test_it_is_inspected_by_a_job_of_its_own() -> None:
    seen, outcome = asked(calibrated(), inspected())
    (job,) = outcome.create
    given = env(job)
    assert (given["SLIPWAY_SOURCE"], given["SLIPWAY_REVISION"], given["SLIPWAY_ROLE"]) == (
        "hf://acme/dialogues",
        "v2",
        "calibration",
    )
    assert "SLIPWAY_ROLE" not in env(seen.jobs[0].job)
    assert condition(outcome, "SourceResolved")[1] == "Inspecting"


def test_the_recipe_names_its_artifact_and_the_job_mounts_it() -> None:
    seen, outcome = pinned(calibrated(), inspected(), TEXTS)
    (revision,) = outcome.create
    one = read_pinned(revision).companions[0]
    assert (one.kind, one.commit, one.weight_bytes, one.download_bytes) == (
        "calibration",
        COMMIT,
        0,
        7_000_000,
    )
    seen = replace(seen, revisions=(accepted(revision),))
    outcome = decide(seen)
    source, level, text = outcome.create
    assert text["spec"]["recipe"] == {"method": "source"}
    assert text["metadata"]["name"] == one.artifacts[0]
    assert level["spec"]["inputs"] == [{"name": "calibration", "artifact": one.artifacts[0]}]
    assert level["spec"]["recipe"] == {"method": "awq", "level": "W4A16", "options": {"samples": "32"}}
    assert outcome.status is not None
    assert outcome.status["companions"][0]["kind"] == "calibration"
    assert claims(job_of(seen, text))["parent"] == source["metadata"]["name"]
    assert claims(job_of(seen, source)).keys() == {"store"}
    assert ready(level)["spec"]["parent"] == source["metadata"]["name"]


def test_another_text_is_another_artifact() -> None:
    other = {**TEXTS, "commit": "f" * 40}
    names = []
    for found in (TEXTS, other):
        seen, outcome = pinned(calibrated(), inspected(), found)
        seen = replace(seen, revisions=(accepted(outcome.create[0]),))
        names.append([one["metadata"]["name"] for one in decide(seen).create])
    assert names[0][0] == names[1][0]
    assert not set(names[0][1:]) & set(names[1])


def test_no_engine_mounts_it() -> None:
    seen, outcome = pinned(calibrated(), inspected(), TEXTS)
    found = read_pinned(outcome.create[0])

    class Seen:
        artifacts: dict[str, Any] = {}  # noqa: RUF012 - nothing is built

    scene = object.__new__(Scene)
    object.__setattr__(scene, "seen", Seen())
    assert companions.published(scene, found) == ()
    assert seen.model["spec"]["optimize"]["calibration"] == TEXT


def test_it_comes_after_what_is_served() -> None:
    wish = ModelDeploymentSpec.model_validate(
        {
            "model": {"source": "hf://acme/model", "adapters": [adapter("calibration")]},
            "optimize": {"method": "gptq", "calibration": {"source": "hf://acme/texts"}},
        }
    )
    assert [(one.key, one.kind) for one in wanted(wish)] == [
        ("adapter-calibration", "lora"),
        ("calibration", "calibration"),
    ]
    assert wanted(wish)[1] == Wanted(
        "calibration", "calibration", "hf://acme/texts", None, "spec.optimize.calibration"
    )


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ({"source": "hf://acme"}, "InvalidSource", "hf://datasets/ORG/NAME"),
        ({"source": "gopher://a/b"}, "UnknownScheme", "gopher://"),
        ({"revision": "main", "source": None}, "InvalidSpec", "name it in spec.optimize.calibration.source"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(text: dict[str, Any], reason: str, words: str) -> None:
    raw = calibrated(**text)
    given = raw["spec"]["optimize"]["calibration"]
    raw["spec"]["optimize"]["calibration"] = {name: one for name, one in given.items() if one is not None}
    (found,) = validate.problems(raw)
    assert (found.reason, words in found.message) == (reason, True), found.message
