"""``slipway plan -o json`` and its table against golden files; update as in test_golden_render."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slipway.__main__ import main
from slipway.api.modeldeployment import PlanStatus

HERE = Path(__file__).resolve().parent
CASES = {
    "smollm2-small": ("smallest", "smollm2", "small"),
    "smollm2-quality": ("everything", "smollm2", "mixed"),
    "llama-mixed": ("mixed-nodes", "llama-7b", "mixed"),
}


@pytest.mark.parametrize("output", ["json", "table"])
@pytest.mark.parametrize("name", CASES)
def test_plan(name: str, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, model, nodes = CASES[name]
    argv = ["plan", str(HERE / f"render/input/{file}.yaml"), "--model", str(HERE / f"models/{model}")]
    assert main([*argv, "--nodes", str(HERE / f"nodes/{nodes}.json"), "-o", output]) == 0
    printed = capsys.readouterr().out
    golden = HERE / "plan" / "output" / f"{name}.{'json' if output == 'json' else 'txt'}"
    if os.environ.get("SLIPWAY_UPDATE_GOLDEN"):
        golden.write_text(printed)
    assert printed == golden.read_text()
    if output == "json":
        PlanStatus.model_validate(json.loads(printed))
