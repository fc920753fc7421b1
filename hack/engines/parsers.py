"""Writes tests/golden/parsers/ENGINE.json: every option of every engine's own command line.

    python3 -m hack.engines.parsers [ENGINE…] [--source FILE…] [--check]

Without names: all whose parser can be read here. An engine of `INSTALLED` gets a small environment in the
cache, keyed by its pins, and its parser is dumped there; one of `EXTRACTED` is read out of text, which lies
below `<cache>/engines/sources/` or is given with --source (in the order of its `sources`). With --check
nothing is written: the exit code says whether the golden files are what would be written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hack.engines import texts
from hack.engines.recipes import EXTRACTED, INSTALLED, Extracted, Installed
from hack.hub.cache import cache_root, key_of, new_entry

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "parsers"
DUMP = Path(__file__).resolve().parent / "dump.py"
WITH_PIP_SETTINGS = (
    'source hack/pip-settings.sh && pip_settings_for_uv .venv/bin/python && exec .venv/bin/uv "$@"'
)
"""uv does not read what this machine has set for pip."""
OLLAMA_FILES = {"config.go": "envconfig/config.go", "types.go": "api/types.go"}
MODULE = "github.com/ollama/ollama"

READERS: Mapping[str, Callable[..., texts.Found]] = {
    "llama-server": texts.llama_server,
    "tgi": texts.clap,
    "tensorrt-llm": lambda text: texts.click_source(text, "serve"),
    "text-generation-webui": texts.argparse_source,
    "ollama": lambda config, types: {
        "options": texts.ollama_variables(config),
        "parameters": texts.ollama_parameters(types),
        "positionals": [],
    },
}


class UnreadableError(Exception):
    """An engine's parser can't be read here; the message says what to do."""


def python_of(recipe: Installed) -> Path:
    """Where the Python of an engine's environment lies, whether it is there or not."""
    return cache_root() / "engines" / key_of(recipe.pins) / "bin" / "python"


def install(recipe: Installed) -> Path:
    """Make the engine's environment unless it is there; return its Python."""
    python = python_of(recipe)
    if python.exists():
        return python
    uv = ("bash", "-c", WITH_PIP_SETTINGS, "uv")
    folder = python.parent.parent
    with new_entry(folder) as staging:
        # A relocatable one: it is made beside the place where it will lie.
        run(
            [*uv, "venv", "-q", "--relocatable", "--python", sys.executable, "--allow-existing", str(staging)]
        )
        command = [*uv, "pip", "install", "-q", "--no-deps", "--python", str(staging / "bin" / "python")]
        run([*command, *recipe.pins], recipe.environment)
    return python


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run it and return what it wrote; raise UnreadableError with its own words."""
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise UnreadableError(f"{command[0]} {' '.join(command[3:6])} … failed ({done.returncode}):\n{said}")
    return done.stdout


def sources_of(name: str, recipe: Extracted, given: Sequence[Path]) -> list[Path]:
    """The text files of an engine: those given, else those of the cache, else a Go module's."""
    if given:
        return list(given)
    folder = cache_root() / "engines" / "sources"
    found = [folder / source for source in recipe.sources]
    if name == "ollama":
        found = [_ollama(recipe.version) / OLLAMA_FILES[source] for source in recipe.sources]
    if missing := [str(path) for path in found if not path.exists()]:
        raise UnreadableError(f"{name}: no {', '.join(missing)}; give it with --source. {recipe.how}")
    return found


def _ollama(version: str) -> Path:
    """Folder of ollama's source in the Go module cache."""
    modules = (
        os.environ.get("GOMODCACHE") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "pkg" / "mod"
    )
    return Path(modules) / f"{MODULE}@v{version}"


def read(name: str, given: Sequence[Path] = ()) -> dict[str, Any]:
    """What the golden file of this engine must hold.

    Raises:
        UnreadableError: its packages or its text are not to be had here.
    """
    if name in INSTALLED:
        recipe = INSTALLED[name]
        # Choices that are a set come in the same order each time.
        dumped = run([str(install(recipe)), "-P", str(DUMP), name], {"PYTHONHASHSEED": "0"})
        found = json.loads(dumped)
        return _golden(name, recipe, found)
    extracted = EXTRACTED[name]
    contents = [path.read_text("utf-8") for path in sources_of(name, extracted, given)]
    return _golden(name, extracted, READERS[name](*contents))


def _golden(name: str, recipe: Installed | Extracted, found: texts.Found) -> dict[str, Any]:
    rules = dict(recipe.rules)
    return {"engine": name, "version": recipe.version, "how": recipe.how, "rules": rules, **found}


def render(found: Mapping[str, Any]) -> str:
    """The golden file's text: one option a line, so that a new release reads as a diff."""
    lists = {key: value for key, value in found.items() if isinstance(value, list)}
    head = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items() if key not in lists]
    for key, values in lists.items():
        rows = ",\n".join(f"  {json.dumps(value)}" for value in values)
        head.append(f" {json.dumps(key)}: [\n{rows}\n ]" if rows else f" {json.dumps(key)}: []")
    return "{\n" + ",\n".join(head) + "\n}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the golden files of the engines named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", choices=[[], *INSTALLED, *EXTRACTED], metavar="ENGINE")
    parser.add_argument("--source", type=Path, action="append", default=[])
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args(arguments)
    failed = False
    for name in asked.engines or [*INSTALLED, *EXTRACTED]:
        target = GOLDEN / f"{name}.json"
        try:
            text = render(read(name, asked.source))
        except UnreadableError as error:
            print(f"{name}: left as it is: {error}", file=sys.stderr)
            failed |= bool(asked.engines)
            continue
        same = target.exists() and target.read_text("utf-8") == text
        failed |= asked.check and not same
        if not same and not asked.check:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        print(f"{name}: {'unchanged' if same else 'differs' if asked.check else 'written'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
