"""The API server takes the CRDs, judges objects as Python does, and explains every field."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from tests.support.control_plane import Api
from tests.support.spec_cases import RIGHT, RIGHT_SOURCES, WRONG, WRONG_SOURCES, Case

pytestmark = pytest.mark.api
LEVEL = "Invalid value: a recipe has a level, unless it is the source itself"
PARENT = "Invalid value: a source has no parent, everything else is made from one"


def artifact(**spec: Any) -> dict[str, Any]:
    """A ModelArtifact of a source."""
    source = {
        "source": {"uri": "hf://a/b", "commit": "c" * 40},
        "recipe": {"method": "source"},
        "expectedBytes": 1,
    }
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelArtifact",
        "metadata": {"name": "b-source-0123456789"},
        "spec": source | spec,
    }


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.id)
def test_right_is_admitted(api: Api, case: Case) -> None:
    answer = api.judge(case.obj)
    assert (answer.code, answer.message, answer.warnings) == (HTTPStatus.CREATED, "", ())


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.id)
def test_wrong_is_refused_at_the_field_that_python_names(api: Api, case: Case) -> None:
    answer = api.judge(case.obj)
    assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert case.path in {cause["field"] for cause in answer.body["details"]["causes"]}


@pytest.mark.parametrize("source", [*RIGHT_SOURCES, *WRONG_SOURCES])
def test_addresses_of_every_scheme_are_judged_alike(api: Api, source: str) -> None:
    answer = api.judge(Case("", {}, model={"source": source}).obj)
    right = source in RIGHT_SOURCES
    assert answer.code == (HTTPStatus.CREATED if right else HTTPStatus.UNPROCESSABLE_ENTITY)
    if not right:
        assert "spec.model.source" in {cause["field"] for cause in answer.body["details"]["causes"]}


def test_unknown_field_is_refused(api: Api) -> None:
    answer = api.judge(Case("", {"optimise": {}}).obj)
    assert answer.code == HTTPStatus.BAD_REQUEST
    assert 'unknown field "spec.optimise"' in answer.message


def test_artifact_never_changes(api: Api) -> None:
    api.must("create", "-f", "-", stdin=artifact())
    try:
        done = api.kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=artifact(expectedBytes=2)
        )
        assert "a ModelArtifact never changes" in done.stderr
        api.must("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=artifact())
    finally:
        api.must("delete", "mart", "b-source-0123456789")


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ({"recipe": {"method": "gguf", "level": "F16"}}, PARENT),
        ({"recipe": {"method": "gguf"}, "parent": "x"}, LEVEL),
        ({"parent": "x"}, PARENT),
    ],
)
def test_artifact_without_sense_is_refused(api: Api, spec: dict[str, Any], rule: str) -> None:
    answer = api.judge(artifact(**spec))
    assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert [cause["message"] for cause in answer.body["details"]["causes"]] == [rule]


def test_artifact_with_sense_is_admitted(api: Api) -> None:
    came = {"recipe": {"method": "source", "level": "UD-Q4_K_XL"}}
    for spec in ({}, came, {"recipe": {"method": "gguf", "level": "F16"}, "parent": "x"}):
        assert api.judge(artifact(**spec)).message == ""


def test_scale_status_and_columns(api: Api) -> None:
    api.must("create", "-f", "-", stdin=Case("", {}, name="scaled").obj)
    try:
        api.must("scale", "mdl/scaled", "--replicas=3")
        assert api.must("get", "mdl", "scaled", "-o", "jsonpath={.spec.replicas}") == "3"
        condition = {"type": "Ready", "status": "False", "reason": "Building", "message": "m"}
        status = {
            "replicas": 2,
            "readyReplicas": 1,
            "selector": "slipway.dev/model=scaled",
            "progress": "Quantizing 43%",
            "conditions": [
                condition | {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2}
            ],
        }
        patch = json.dumps({"status": status})
        api.must("patch", "mdl", "scaled", "--subresource=status", "--type=merge", "-p", patch)
        scale = json.loads(api.must("get", "--raw", f"{MODELS}/scaled/scale"))
        assert scale["status"] == {"replicas": 2, "selector": "slipway.dev/model=scaled"}
        head, row = api.must("get", "mdl", "scaled").splitlines()
        assert head.split() == COLUMNS
        assert row.split()[:6] == ["scaled", "False", "Building", "Quantizing", "43%", "1"]
        assert "modeldeployment.slipway.dev/scaled" in api.must("get", "slipway", "-o", "name")
    finally:
        api.must("delete", "mdl", "scaled")


MODELS = "/apis/slipway.dev/v1alpha1/namespaces/default/modeldeployments"
COLUMNS = ["NAME", "READY", "REASON", "PROGRESS", "ENGINE", "FORMAT", "REPLICAS", "CHECKLIST", "URL", "AGE"]


def test_default_of_replicas_serves_the_scale_subresource(api: Api) -> None:
    api.must("create", "-f", "-", stdin=Case("", {}, name="plain").obj)
    try:
        assert json.loads(api.must("get", "--raw", f"{MODELS}/plain/scale"))["spec"] == {"replicas": 1}
        spec = json.loads(api.must("get", "mdl", "plain", "-o", "json"))["spec"]
        assert spec == {"model": {"source": "hf://acme/model"}, "replicas": 1}
    finally:
        api.must("delete", "mdl", "plain")


def test_explain_teaches(api: Api) -> None:
    text = " ".join(api.must("explain", "mdl.spec.optimize").split())
    assert "Q4_K_M (3-5%, the default)" in text
    assert "maxQualityLoss <string> Gate: the largest relative increase in perplexity" in text
    assert "enum: throughput, latency, cost, quality" in text


ENGINE = {
    "images": {"cpu": "acme.example/server:1"},
    "format": "safetensors",
    "args": ["--model={modelPath}"],
    "metrics": {"prefix": "acme_"},
}


def engine(name: str = "acme", **spec: Any) -> dict[str, Any]:
    """A ServingEngine."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ServingEngine",
        "metadata": {"name": name},
        "spec": ENGINE | spec,
    }


def test_an_engine_of_ones_own_is_admitted(api: Api) -> None:
    assert api.judge(engine()).code == HTTPStatus.CREATED


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (engine(images={"tpu": "a:1"}), "an accelerator is one of cpu, nvidia, amd, intel, gaudi, ascend"),
        (engine(methods=["gguf"]), "method gguf goes with format gguf"),
        (engine(format="gguf", methods=["awq"]), "method gguf goes with format gguf"),
        (engine(format="onnx"), "Unsupported value"),
        (engine("auto"), "not auto"),
        (engine(port=80), "should be greater than or equal to 1024"),
    ],
    ids=["accelerator", "method", "format and method", "format", "name", "port"],
)
def test_a_wrong_engine_is_refused(api: Api, given: dict[str, Any], words: str) -> None:
    answer = api.judge(given)
    assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert words in answer.message
