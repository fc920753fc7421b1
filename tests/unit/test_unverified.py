"""docs/unverified.md and the tests' ``unverified`` markers name the same gaps; each says how to verify it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/unverified.md").read_text(encoding="utf-8")


def markers(source: str) -> Iterator[str]:
    """Names in ``pytest.mark.unverified("name")`` of one file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.unverified":
            yield ast.literal_eval(node.args[0])


def marked() -> set[str]:
    return {name for file in (ROOT / "tests").rglob("*.py") for name in markers(file.read_text("utf-8"))}


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_page_lists_exactly_what_the_tests_mark() -> None:
    assert set(sections()) == marked()
    assert marked()


def test_every_gap_says_how_to_verify_it() -> None:
    assert [name for name, text in sections().items() if "\nVerify: " not in text] == []


def test_a_marker_is_found_where_it_stands() -> None:
    assert list(markers('@pytest.mark.unverified("X")\ndef test_x(): ...\n')) == ["X"]
    assert list(markers("# pytest.mark.unverified('Y')\n")) == []
