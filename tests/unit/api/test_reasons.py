"""Every reason is documented, and every reason that code gives is in the list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from slipway.api import reasons

ROOT = Path(__file__).resolve().parents[3]
CAMEL = re.compile(r"^([A-Z][a-z0-9]*){2,}$")
RAISED = {"InvalidSpecError", "NothingFitsError"}
"""Errors whose first argument is a reason."""


def documented() -> dict[str, str]:
    """Value to doc line of every constant."""
    body = ast.parse(Path(str(reasons.__file__)).read_text("utf-8")).body
    found = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        match statement, following:
            case ast.Assign(value=ast.Constant(value=str(value))), ast.Expr(
                value=ast.Constant(value=str(line))
            ):
                found[value] = line
    return found


def given(path: Path) -> Iterator[str]:
    """Reasons that a file gives as literals."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        first = node.args[:1] if name in RAISED else []
        words = [*first, *(keyword.value for keyword in node.keywords if keyword.arg == "reason")]
        for word in words:
            if isinstance(word, ast.Constant) and isinstance(word.value, str) and CAMEL.match(word.value):
                yield word.value


def test_every_constant_has_a_line() -> None:
    constants = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert constants == set(documented())


def test_values_are_unique() -> None:
    values = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]
    assert len(values) == len(set(values))


def test_no_file_gives_a_reason_of_its_own() -> None:
    files = (ROOT / "operator/slipway").rglob("*.py")
    strays = {
        f"{path.name}: {word}"
        for path in files
        for word in given(path)
        if word not in documented() | reasons.FROM_JOBS
    }
    assert strays == set()


def test_every_reason_is_given_somewhere() -> None:
    files = [
        path for path in (ROOT / "operator/slipway").rglob("*.py") if path != Path(str(reasons.__file__))
    ]
    code = "\n".join(path.read_text("utf-8") for path in files)
    names = {name for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    jobs = set(reasons.FROM_JOBS)  # these come as they are, from a Job's result
    idle = [
        name for name in names if getattr(reasons, name) not in jobs and not re.search(rf"\b{name}\b", code)
    ]
    assert [name for name in idle if f'"{getattr(reasons, name)}"' not in code] == []
