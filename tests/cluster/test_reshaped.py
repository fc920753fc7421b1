"""A model that lost a layer, at a level with an importance matrix: every step in the cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.callers import client
from tests.cluster.namespaces import Cluster, own_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
TINY = "hf://slipway-test/tiny"
"""Two layers."""


@pytest.fixture(scope="module")
def reshaping() -> Iterator[Cluster]:
    with own_namespace("reshape") as cluster:
        yield cluster


def test_a_shorter_model_is_quantised_with_a_matrix_and_answers(reshaping: Cluster) -> None:
    reshaping.model("short", TINY, optimize={"prune": {"layers": [1]}, "level": "IQ3_XXS"})
    reshaping.wait_ready("short", 800)
    found = {one["spec"]["recipe"].get("level", "source"): one for one in reshaping.list("mart")}
    assert set(found) == {"source", "SHORT", "F16", "IMATRIX", "IQ3_XXS"}
    assert found["SHORT"]["status"]["made"] == {"layers": "1"}
    assert found["SHORT"]["status"]["sizeBytes"] < found["source"]["status"]["sizeBytes"]
    assert "quality" not in found["IMATRIX"]["status"]
    parents = {level: one["spec"].get("parent") for level, one in found.items()}
    names = {level: one["metadata"]["name"] for level, one in found.items()}
    assert parents["F16"] == names["SHORT"]
    assert parents["IMATRIX"] == parents["IQ3_XXS"] == names["F16"]
    with client(reshaping, "short") as ai:
        said = ai.completions.create(model="short", prompt="Once", max_tokens=8)
        assert said.usage is not None
        assert said.usage.completion_tokens > 0


def test_a_layer_that_is_not_there_is_refused_before_anything_is_fetched(reshaping: Cluster) -> None:
    reshaping.model("none", TINY, optimize={"prune": {"layers": [2]}})
    said = reshaping.wait_reason("none", "Planned", "InvalidSpec")
    assert "no layer 2" in said["message"]
