"""``slipway engines``, and the page that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.__main__ import main
from slipway.engines import ENGINES

PAGE = Path(__file__).resolve().parents[3] / "docs/engines.md"


def test_the_page_is_what_the_engines_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "-o", "markdown"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(), "slipway engines -o markdown > docs/engines.md"


def test_json_has_every_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found] == list(ENGINES)
    vllm = next(one for one in found if one["name"] == "vllm")
    assert {"name": "fp8", "atLoad": True} in vllm["accelerators"]["nvidia"]["methods"]


def test_one_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "llamacpp"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ENGINE", "ON", "NODES", "METHODS", "IMAGE"]
    assert all(line.startswith("llamacpp ") for line in lines[1:])


def test_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "vlm"]) == 2
    assert "did you mean vllm?" in capsys.readouterr().err
