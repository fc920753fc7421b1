"""The quality gate: only a measured loss opens it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.passes import building, model
from slipway.passes.kept import read_revision
from tests.unit.core.test_passes import NOW, SETTINGS, accepted, condition, mdl, planned
from tests.unit.core.test_upkeep import GENERATIONS, READY, of_kind

Raw = dict[str, Any]


@pytest.mark.parametrize(
    ("quality", "gate", "opens", "words"),
    [
        ({"loss": "7.2%"}, "10%", True, ""),
        (
            {"loss": "7.2%"},
            "5%",
            False,
            "gguf Q4_K_M loses 7.2% in perplexity, more than spec.optimize.maxQualityLoss (5%)",
        ),
        ({"loss": "7.2%"}, None, True, ""),
        ({}, None, True, ""),
        ({}, "5%", False, "no loss of gguf Q4_K_M against the unquantised model was measured"),
        (None, "5%", False, "drop maxQualityLoss"),
    ],
)
def test_what_nobody_measured_does_not_pass(
    quality: Raw | None, gate: str | None, *, opens: bool, words: str
) -> None:
    seen = planned()
    status = READY | {
        "quality": {},
        "digest": "sha256:5",
        "location": {"claim": "c", "path": "published"},
    }
    artifacts = {
        raw["metadata"]["name"]: accepted(raw, status=status)
        for raw in model.decide(seen, SETTINGS, NOW).create
    }
    served = next(one for name, one in artifacts.items() if "q4-k-m" in name)
    served["status"] = served["status"] | ({} if quality is None else {"quality": quality})
    gated = mdl(optimize={"maxQualityLoss": gate} if gate else {})
    raw = {
        **seen.model,
        "spec": gated["spec"],
        "metadata": {**seen.model["metadata"], "generation": next(GENERATIONS)},
    }
    outcome = model.decide(replace(seen, model=raw, artifacts=artifacts), SETTINGS, NOW)
    assert (of_kind(outcome, "Deployment") is not None) is opens
    if not opens:
        reason = "QualityBelowGate" if (quality or {}).get("loss") else "QualityUnknown"
        assert condition(outcome, "Ready")[1] == reason
        assert words in condition(outcome, "Ready")[2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "awq", "form": "safetensors", "level": "W4A16", "made": True}, ""),
        ({"method": "awq", "form": "safetensors", "level": "W4A16"}, "the model comes as W4A16"),
        (
            {"method": "fp8", "form": "safetensors", "level": "FP8", "at_load": True},
            "makes FP8 while it loads",
        ),
        ({"method": "none", "form": "safetensors", "level": "BF16"}, ""),
        ({"form": "gguf", "level": "Q4_K_M"}, ""),
        ({"form": "gguf", "level": "Q4_K_M", "source_files": 1}, "comes as GGUF, at Q4_K_M"),
    ],
)
def test_only_what_a_job_makes_is_measured(changes: Raw, words: str) -> None:
    plan = read_revision(planned().revisions[0]).plan
    found = building._never_measured(replace(plan, **changes))
    assert words in found
    assert bool(found) is bool(words)
