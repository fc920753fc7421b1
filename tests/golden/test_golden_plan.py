"""``slipway plan -o json`` and its table against golden files; update as in test_golden_render."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slipway.__main__ import main
from slipway.api.modeldeployment import PlanStatus
from tests.support.gguf_models import LLAMA_7B, write_gguf

HERE = Path(__file__).resolve().parent
CASES = {
    "smollm2-small": ("smallest", "smollm2", "small"),
    "smollm2-quality": ("everything", "smollm2", "mixed"),
    "llama-mixed": ("mixed-nodes", "llama-7b", "mixed"),
}
GGUF = {
    "gguf-small": ("smallest", {"Q2_K": 1, "Q4_K_M": 1, "Q8_0": 2}, "small"),
    "gguf-mixed": ("smallest", {"Q2_K": 1, "Q8_0": 1, "F16": 3}, "mixed"),
}


@pytest.mark.parametrize("output", ["json", "table"])
@pytest.mark.parametrize("name", CASES)
def test_plan(name: str, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, model, nodes = CASES[name]
    compare(name, output, (file, str(HERE / f"models/{model}"), nodes), capsys)


@pytest.mark.parametrize("output", ["json", "table"])
@pytest.mark.parametrize("name", GGUF)
def test_plan_of_gguf_files(
    name: str, output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, levels, nodes = GGUF[name]
    for level, parts in levels.items():
        write_gguf(tmp_path / f"llama-7b-{level}.gguf", level, LLAMA_7B, parts=parts)
    compare(name, output, (file, str(tmp_path), nodes), capsys)


def compare(name: str, output: str, given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Hold what the command prints for these files against the golden one."""
    file, model, nodes = given
    argv = ["plan", str(HERE / f"render/input/{file}.yaml"), "--model", model]
    assert main([*argv, "--nodes", str(HERE / f"nodes/{nodes}.json"), "-o", output]) == 0
    printed = capsys.readouterr().out
    golden = HERE / "plan" / "output" / f"{name}.{'json' if output == 'json' else 'txt'}"
    if os.environ.get("SLIPWAY_UPDATE_GOLDEN"):
        golden.write_text(printed)
    assert printed == golden.read_text()
    if output == "json":
        PlanStatus.model_validate(json.loads(printed))
