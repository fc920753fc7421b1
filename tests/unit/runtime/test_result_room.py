"""What others wrote fits into a result, however long they wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime import contract, oci_image
from slipway_runtime.companion_facts import adapter_facts
from slipway_runtime.weights import Header
from tests.support.gguf_models import write_gguf
from tests.support.registry_double import Double, serving
from tests.support.registry_models import TITLE

from .conftest import Bench


@pytest.fixture
def double() -> Iterator[Double]:
    with serving(Double()) as served:
        yield served


def test_a_licence_of_many_pages(bench: Bench, double: Double, tmp_path: Path) -> None:
    content = write_gguf(tmp_path / "m-Q8_0.gguf", "Q8_0").read_bytes()
    long = {"org.opencontainers.image.licenses": "L" * 6000}
    double.add_layers("v1", [("application/x", content, {TITLE: "m-Q8_0.gguf"})], annotations=long)
    code, result, log = bench.run("inspect", SLIPWAY_SOURCE=f"oci://{double.host}/acme/m:v1")
    assert code == 0, log
    assert set(result["facts"]["license"]) == {"L"}
    assert len(json.dumps(result)) <= contract.RESULT_LIMIT


def test_targets_of_an_adapter() -> None:
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "r": 8,
        "target_modules": [f"{number}{'x' * 900}" for number in range(40)],
        "base_model_name_or_path": "b" * 900,
    }
    assert len(json.dumps(adapter_facts(config, Header({}, 0)))) < contract.RESULT_LIMIT - 500


@pytest.mark.parametrize(
    ("artifact", "quality", "found"),
    [
        (f"sha256:{'a' * 64}", {"loss": "0.01"}, True),
        (f"sha256:{'a' * 64}", {"loss": "0" * 5000}, False),
        ("a" * 5000, {"loss": "0.01"}, False),
    ],
)
def test_what_an_image_says_of_its_artifact(
    bench: Bench, double: Double, artifact: str, quality: dict[str, str], *, found: bool
) -> None:
    record = json.dumps({"sizeBytes": 1, "files": 1, "quality": quality})
    annotations = {oci_image.ARTIFACT: artifact, oci_image.RECORD: record}
    double.add_manifest("v1", {"schemaVersion": 2, "manifests": [], "annotations": annotations})
    code, result, log = bench.run("recall", SLIPWAY_PUSH_TO=f"oci://{double.host}/acme/m:v1")
    assert (code, result["found"]) == (0, found), log
