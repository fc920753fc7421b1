"""Methods that leave safetensors, one of each family on a tiny model: made, measured, loaded, generating."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import made
from tests.cluster.hub import TINY
from tests.cluster.namespaces import Cluster, own_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
FEW = {"calibration": {"samples": 4, "sequenceLength": 64}}


@pytest.fixture(scope="module")
def home() -> Iterator[Cluster]:
    """A namespace of these tests' own, and no ServingEngine after them."""
    Cluster("").apply(made.reader(made.optimizer_image()))
    try:
        with own_namespace("methods") as found:
            yield found
    finally:
        Cluster("").kubectl("delete", "seng", made.READER, "--ignore-not-found", namespaced=False)


@pytest.mark.parametrize(
    ("method", "level", "form", "chosen"),
    [
        ("awq", "W4A16", "pack-quantized", {"groupSize": "64", "samples": "4"}),
        ("fp8", "FP8_STATIC", "float-quantized", {"samples": "4"}),
    ],
)
def test_it_is_made_and_transformers_generates_with_it(
    home: Cluster, method: str, level: str, form: str, chosen: dict[str, str]
) -> None:
    wish: dict[str, Any] = {"method": method, "level": level, **FEW}
    home.model(method, TINY, engine={"name": made.READER, "contextLength": 512}, optimize=wish)
    status = made.artifact_ready(home, level, 600)
    assert status["status"]["made"] == chosen
    assert status["status"]["completed"] == ["quantize", "evaluate", "publish"]
    said = made.generated(home, status, "Once upon a time")
    assert said["finite"]
    assert len(said["text"]) > len("Once upon a time")
    assert said["config"]["format"] == form
    assert said["config"]["quant_method"] == "compressed-tensors"
    home.delete_models(method)


def test_a_group_that_leaves_a_rest_is_refused_before_anything_is_loaded(home: Cluster) -> None:
    wish = {"method": "gptq", "groupSize": 48, **FEW}
    home.model("uneven", TINY, engine={"name": made.READER, "contextLength": 512}, optimize=wish)
    found = home.wait_reason("uneven", "ArtifactReady", "GroupSize", 420)
    assert "use 64 or 32" in found["message"]
    home.delete_models("uneven")
