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
    assert parse(case.obj).model.source == case.model["source"]


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
        ({"optimize": {"level": "iq2_m"}}, reasons.UNKNOWN_LEVEL, "is written in capitals"),
        ({"optimize": {"levle": "Q4_K_M"}}, reasons.INVALID_SPEC, "did you mean level?"),
        ({"optimize": {"goal": "thruput"}}, reasons.INVALID_SPEC, "did you mean throughput?"),
        (
            {"model": {"source": "hff://acme/model"}},
            reasons.UNKNOWN_SCHEME,
            "hff:// is not known; did you mean hf",
        ),
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


def test_a_wrong_field_is_named_once_though_a_rule_is_about_it() -> None:
    # Without the field the rule would say that operator Equal needs a key.
    taint = {"key": "a b", "value": "c"}
    found = problems(deployment(engine={"podOverrides": {"tolerations": [taint]}}))
    assert [problem.path for problem in found] == ["spec.engine.podOverrides.tolerations[0].key"]


def test_every_wrong_key_of_a_map_is_named() -> None:
    labels = {"A B": "a", "ok": "a", "a/b/c": "a", "slipway.dev/model": "a"}
    found = problems(deployment(engine={"podOverrides": {"labels": labels}}))
    assert [problem.location[-1] for problem in found] == ["slipway.dev/model", "A B", "a/b/c"]
    assert {problem.path for problem in found} == {"spec.engine.podOverrides.labels"}
    assert "'A B': a key is [PREFIX/]NAME" in found[1].message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"engine": {"podOverrides": {"labels": {"team": "A B"}}}},
            "'A B' is not a label's value: at most 63",
        ),
        ({"access": {"allowFrom": [{"namespace": "Team A"}]}}, "'Team A' is not a namespace"),
        ({"store": {"storageClassName": "A B"}}, "'A B' is not a StorageClass's name"),
        ({"engine": {"resources": {"cpu": "0"}}}, "cpu must be at least 1m, such as 2 or 500m"),
        ({"engine": {"resources": {"memory": "0"}}}, "memory must be more than 0, such as 8Gi"),
        ({"suspend": None, "checklist": True}, "must be a map of fields, not true"),
        ({"optimize": {"goal": None}, "replicas": {"a": [None]}}, 'not {"a": [null]}'),
        ({"model": {"source": "x" * 200}}, "xxx… is not of the form SCHEME://…"),
    ],
)
def test_words_are_the_authors_not_pythons(spec: dict[str, Any], words: str) -> None:
    (found,) = problems(deployment(**spec))
    assert words in found.message


def test_a_name_that_yaml_read_as_a_number() -> None:
    obj = {"metadata": {"name": 7}, "spec": {"model": {"source": SOURCE}}}
    (found,) = problems(obj)
    assert found.message == "metadata.name: must be a text: put 7 in quotes"


def test_a_line_break_at_the_end_is_no_name() -> None:
    obj = {"metadata": {"name": "model\n"}, "spec": {"model": {"source": SOURCE}}}
    assert [problem.path for problem in problems(obj)] == ["metadata.name"]


def test_suggestion_needs_a_near_word() -> None:
    assert suggest("zzz", ["alpha", "beta"]) == "Known: alpha, beta"


def test_salvage_keeps_what_is_right() -> None:
    raw = {"model": {"source": SOURCE}, "replicas": "x", "engine": {"name": "llamacpp", "contextLength": "x"}}
    spec = salvage(ModelDeploymentSpec, raw)
    assert spec
    assert spec.engine
    assert (spec.engine.name, spec.engine.context_length) == ("llamacpp", None)
    assert salvage(ModelDeploymentSpec, {"engine": {}}) is None


@pytest.mark.parametrize(
    ("optimize", "path", "words"),
    [
        ({"compare": ["Q8_0", "Q9_0"]}, "spec.optimize.compare[1]", "Q9_0"),
        ({"compare": ["Q8_0", "Q8_0"]}, "spec.optimize.compare", "names a level twice"),
        ({"compare": ["Q8_0"], "level": "Q8_0"}, "spec.optimize.compare", "the level that is served"),
    ],
)
def test_levels_to_compare_exist_once_and_are_others(optimize: dict[str, Any], path: str, words: str) -> None:
    wish = {"metadata": {"name": "m"}, "spec": {"model": {"source": "hf://a/b"}, "optimize": optimize}}
    (found,) = problems(wish)
    assert found.path == path
    assert words in found.message
