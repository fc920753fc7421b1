"""Every mistake at once, each with path, words and reason."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.validate import parse, problems, salvage, suggest
from slipway.errors import InvalidSpecError
from tests.support.spec_cases import RIGHT, SOURCE, WRONG, Case


def deployment(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "model"}, "spec": {"model": {"source": SOURCE}, **spec}}


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.id)
def test_right_is_parsed(case: Case) -> None:
    assert problems(case.obj) == []
    assert parse(case.obj).model.source == SOURCE


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.id)
def test_wrong_is_named_once_with_its_path(case: Case) -> None:
    found = problems(case.obj)
    assert [problem.path for problem in found] == [case.path]
    assert found[0].message.startswith(f"{case.path}: ")
    with pytest.raises(InvalidSpecError) as error:
        parse(case.obj)
    assert error.value.reason == found[0].reason


def test_all_mistakes_come_at_once() -> None:
    obj = deployment(
        optimize={"level": "Q4_KM", "gaol": "cost", "maxQualityLoss": 3},
        autoscaling={"minReplicas": 5, "maxReplicas": 1},
        engine={"generation": {"topP": "7", "topK": "many"}},
    )
    obj["metadata"]["name"] = "Big"
    assert sorted(problem.path for problem in problems(obj)) == [
        "metadata.name",
        "spec.autoscaling.minReplicas",
        "spec.engine.generation.topK",
        "spec.engine.generation.topP",
        "spec.optimize.gaol",
        "spec.optimize.level",
        "spec.optimize.maxQualityLoss",
    ]


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"optimize": {"level": "q4_k_m"}}, reasons.UNKNOWN_LEVEL, "did you mean Q4_K_M?"),
        ({"optimize": {"level": "Q4_KM"}}, reasons.UNKNOWN_LEVEL, "did you mean Q4_K_M?"),
        ({"optimize": {"levle": "Q4_K_M"}}, reasons.INVALID_SPEC, "did you mean level?"),
        ({"optimize": {"goal": "thruput"}}, reasons.INVALID_SPEC, "did you mean throughput?"),
        ({"model": {"source": "s3://acme/model"}}, reasons.UNKNOWN_SCHEME, "s3:// is not known; Known: hf"),
        ({"model": {"source": "gpt-oss"}}, reasons.INVALID_SOURCE, "hf://ORG/NAME"),
        ({"model": {"source": "hf://gpt"}}, reasons.INVALID_SOURCE, "hf://ORG/NAME"),
        ({"model": {"source": 7}}, reasons.INVALID_SOURCE, "hf://ORG/NAME"),
        ({"checklist": []}, reasons.INVALID_SPEC, "map of fields"),
        ({"engine": {"context_length": 512}}, reasons.INVALID_SPEC, "did you mean contextLength?"),
    ],
)
def test_words_say_what_to_do(spec: dict[str, Any], reason: str, words: str) -> None:
    (found,) = problems(deployment(**spec))
    assert found.reason == reason
    assert words in found.message


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        ({}, "metadata.name"),
        ({"metadata": "x", "spec": {"model": {"source": SOURCE}}}, "metadata.name"),
        ({"metadata": {"name": "a"}}, "spec"),
        ({"metadata": {"name": "a"}, "spec": []}, "spec"),
        ({"metadata": {"name": "a"}, "spec": {}}, "spec.model"),
        ({"metadata": {"name": "a"}, "spec": {"model": "hf://a/b"}}, "spec.model"),
    ],
)
def test_any_shape_is_answered(obj: dict[str, Any], path: str) -> None:
    assert problems(obj)[0].path == path


def test_suggestion_needs_a_near_word() -> None:
    assert suggest("zzz", ["alpha", "beta"]) == "Known: alpha, beta"


def test_salvage_keeps_what_is_right() -> None:
    raw = {"model": {"source": SOURCE}, "replicas": "x", "engine": {"name": "llamacpp", "contextLength": "x"}}
    spec = salvage(ModelDeploymentSpec, raw)
    assert spec
    assert spec.engine
    assert (spec.engine.name, spec.engine.context_length) == ("llamacpp", None)
    assert salvage(ModelDeploymentSpec, {"engine": {}}) is None
