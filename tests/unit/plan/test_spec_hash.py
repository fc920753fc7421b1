"""What makes a new revision, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.plan.bands import BANDS, band_of
from slipway.plan.spec_hash import planning_hash
from tests.support.planning import spec

SAME: list[dict[str, Any]] = [
    {"replicas": 3},
    {"suspend": True},
    {"engine": {}},
    {"optimize": {}},
    {"optimize": {"maxQualityLoss": "5%"}},
    {"engine": {"args": {"seed": "7"}}},
    {"engine": {"generation": {"temperature": "0"}}},
    {"engine": {"podOverrides": {"labels": {"a": "b"}, "annotations": {"a": "b"}}}},
    {"access": {"allowFrom": []}},
    {"autoscaling": {"maxReplicas": 3}},
    {"checklist": {"profile": "chat"}},
    {"engine": {"speculative": {"tokens": 7, "window": 3}}},
]
OTHER: list[dict[str, Any]] = [
    {"model": {"source": "hf://acme/other"}},
    {"model": {"source": "hf://acme/model", "revision": "v2"}},
    {"model": {"source": "hf://acme/model", "secretRef": {"name": "token"}}},
    {"optimize": {"goal": "quality"}},
    {"optimize": {"level": "Q8_0"}},
    {"optimize": {"method": "none"}},
    {"engine": {"name": "llamacpp"}},
    {"engine": {"image": "acme/llama:1"}},
    {"engine": {"contextLength": 2048}},
    {"engine": {"concurrency": 2}},
    {"engine": {"resources": {"memory": "4Gi"}}},
    {"engine": {"podOverrides": {"nodeSelector": {"a": "b"}}}},
    {"engine": {"podOverrides": {"tolerations": [{"operator": "Exists"}]}}},
    {"store": {"size": "20Gi"}},
    {"engine": {"tensorParallel": 2}},
    {"engine": {"pipelineParallel": 2}},
    {"engine": {"dataParallel": 2}},
    {"engine": {"gpuMemoryShare": "80%"}},
    {"engine": {"kvCacheDtype": "fp8"}},
    {"engine": {"speculative": {"draft": {"source": "hf://acme/draft"}}}},
    {"engine": {"speculative": {"draft": {"source": "hf://acme/draft", "revision": "v2"}}}},
    {"engine": {"speculative": {"draft": {"source": "hf://acme/draft"}, "tokens": 3}}},
    {"engine": {"speculative": {"draft": {"source": "hf://acme/draft"}, "method": "mlp"}}},
    {
        "model": {
            "source": "hf://acme/model",
            "adapters": [{"name": "sql", "source": "hf://acme/sql", "mode": "serve"}],
        }
    },
]


@pytest.mark.parametrize("fields", SAME, ids=str)
def test_same(fields: dict[str, Any]) -> None:
    assert planning_hash(spec(**fields)) == planning_hash(spec())


def test_other() -> None:
    hashes = [planning_hash(spec()), *(planning_hash(spec(**fields)) for fields in OTHER)]
    assert len(set(hashes)) == len(hashes)
    assert all(len(one) == 10 and int(one, 16) >= 0 for one in hashes)


def test_specs_of_before_keep_their_hash() -> None:
    assert planning_hash(spec()) == "480746695c"
    given = {"name": "llamacpp", "contextLength": 2048, "speculative": {"tokens": 7}}
    assert planning_hash(spec(engine=given, optimize={"level": "Q8_0"})) == "3e3f82f36f"


def test_bands_are_ordered_and_printed_as_published() -> None:
    assert BANDS["Q4_K_M"].text == "3-5%"
    assert all(band.low <= band.high for band in BANDS.values())


@pytest.mark.parametrize(
    ("method", "level", "text"),
    [
        ("gguf", "Q8_0", "0-1%"),
        ("fp8", "FP8_DYNAMIC", "0-0.5%"),
        ("int8", "W8A8", "about 1%"),
        ("awq", "W4A16", "about 3%"),
        ("nvfp4", "NVFP4", "about 3%"),
        ("gguf", "IQ4_XS", None),
        ("prune", "2:4", None),
        ("merge", "BF16", None),
    ],
)
def test_a_method_has_the_band_of_its_bits(method: str, level: str, text: str | None) -> None:
    found = band_of(method, level)
    assert (found.text if found else None) == text
