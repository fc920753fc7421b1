"""docs/methods.md is what methods and engines say."""

from __future__ import annotations

from pathlib import Path

from slipway.cli._methods_page import page

PAGE = Path(__file__).resolve().parents[3] / "docs/methods.md"


def test_the_page_is_what_methods_and_engines_say() -> None:
    written = "\n\n".join(page()) + "\n"
    assert PAGE.read_text() == written, "python -m slipway.cli._methods_page > docs/methods.md"


def test_engines_that_load_only_a_format_of_their_own_are_told_apart() -> None:
    rows = {tuple(row.split(" | ")[:2]): row for row in PAGE.read_text().splitlines() if row.startswith("| ")}
    assert "Job" not in rows["| lmdeploy", "nvidia"]
    assert "own" in rows["| lmdeploy", "nvidia"]
    assert "Job" in rows["| vllm", "cpu"]
