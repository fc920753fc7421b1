"""``slipway render`` against golden pairs ``render/{input,output}/NAME.yaml``.

After a wanted change: ``SLIPWAY_UPDATE_GOLDEN=1 pytest tests/golden``, then read the diff before the commit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.__main__ import main

HERE = Path(__file__).resolve().parent
CASES: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "render" / "cases.yaml").read_text())


def render(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    case = CASES[name]
    for variable in [key for key in os.environ if key.startswith("SLIPWAY_") and "GOLDEN" not in key]:
        monkeypatch.delenv(variable)
    for variable, value in case.get("env", {}).items():
        monkeypatch.setenv(variable, value)
    argv = ["render", str(HERE / "render" / "input" / f"{name}.yaml")]
    argv += [
        "--model",
        str(HERE / "models" / case["model"]),
        "--nodes",
        str(HERE / "nodes" / f"{case['nodes']}.json"),
    ]
    argv += ["--commit", case["commit"]] if "commit" in case else []
    if "adapter" in case:
        argv += ["--adapter", f"{case['adapter']['name']}={HERE.parent / case['adapter']['folder']}"]
    argv += ["--draft", str(HERE / "models" / case["draft"])] if "draft" in case else []
    assert main(argv) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", CASES)
def test_render(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rendered = render(name, monkeypatch, capsys)
    golden = HERE / "render" / "output" / f"{name}.yaml"
    if os.environ.get("SLIPWAY_UPDATE_GOLDEN"):
        golden.write_text(rendered)
    assert rendered == golden.read_text()


def test_every_input_has_its_case_and_its_output() -> None:
    for folder in ("input", "output"):
        assert {path.stem for path in (HERE / "render" / folder).glob("*.yaml")} == set(CASES)
