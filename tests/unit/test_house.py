"""The house rules that no linter knows: layers, sizes, names, and that a new file of a room is found."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import slipway.checks
import slipway.engines
import slipway_runtime.methods
import slipway_runtime.sources

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "operator").rglob("*.py"), *(ROOT / "runtime").rglob("*.py")])
FUNCTION_LINES, FILE_LINES = 40, 300
NAMELESS = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Name and lines of every function, its docstring not counted."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                first = node.body[0]
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, lines


def test_import_layers_hold() -> None:
    # The command of `make check`, so that a layer broken on the way is seen by the tests alone.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_operator_is_no_package() -> None:
    # `operator` is a module of the standard library: a package of that name would hide it.
    assert not (ROOT / "operator/__init__.py").exists()
    assert not (ROOT / "runtime/__init__.py").exists()


def test_functions_fit_on_a_screen() -> None:
    long = {
        f"{file.relative_to(ROOT)}:{name}": lines
        for file in SOURCES
        for name, lines in functions(ast.parse(file.read_text("utf-8")))
        if lines > FUNCTION_LINES
    }
    assert long == {}


def test_files_stay_small() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines()) for file in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_modules_are_named_for_what_they_are() -> None:
    assert [str(file.relative_to(ROOT)) for file in SOURCES if file.stem in NAMELESS] == []
    folders = {file.parent for file in SOURCES}
    assert [str(folder.relative_to(ROOT)) for folder in folders if folder.name in NAMELESS] == []


def test_every_module_says_its_reason_in_one_line() -> None:
    silent = []
    for file in SOURCES:
        said = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").splitlines()
        if not said or not said[0].endswith((".", "!", "?")):
            silent.append(str(file.relative_to(ROOT)))
    assert silent == []


def files_of(package: ModuleType, *shared: str) -> set[str]:
    """Names of the files of a room, without those that its members share: named, or ``_file``."""
    folder = Path(str(package.__file__)).parent
    return {path.stem for path in folder.glob("[!_]*.py")} - set(shared)


def test_every_engine_is_found() -> None:
    found = {name.replace("-", "_") for name in slipway.engines.ENGINES}
    assert found == files_of(
        slipway.engines, "base", "arguments", "chat", "custom", "lifecycle", "offline", "openai"
    )
    assert "llamacpp" in found


def test_every_check_is_found() -> None:
    found = {rule.name.replace("-", "_") for rule in slipway.checks.checks()}
    assert found == files_of(slipway.checks, "base", "load", "lookup", "page", "profiles")


def test_every_source_is_found_and_shows_an_example_of_its_scheme() -> None:
    sources = slipway_runtime.sources
    assert set(sources.SCHEMES) == files_of(sources)
    assert "hf" in sources.SCHEMES
    assert [name for name in sources.SCHEMES if not sources.load(name).EXAMPLE.startswith(f"{name}://")] == []


def test_every_method_is_found() -> None:
    found = set(slipway_runtime.methods.methods())
    assert found == files_of(slipway_runtime.methods)
    assert "gguf" in found


def test_long_functions_are_counted_without_their_docstring() -> None:
    tree = ast.parse('def short():\n    """Say\n\n    more."""\n    return 1\n')
    assert list(functions(tree)) == [("short", 2)]
