"""``slipway check``: every mistake of ModelDeployments in files, at once, with its line; needs no cluster."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway.api.validate import Location, Problem, problem, problems, salvage

KIND = "ModelDeployment"


@dataclass(frozen=True)
class Finding:
    """One mistake in a file; ``document`` counts from 1, as ``line`` does."""

    file: str
    document: int
    line: int
    name: str
    path: str
    reason: str
    message: str


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="report every mistake of the ModelDeployments in files",
        description="Checks ModelDeployments in YAML or JSON files; objects of other kinds are passed over.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file; - is standard input")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="how to print (text)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the findings; returns 1 when there are any."""
    from slipway.cli import FINDINGS, OK, UsageError

    texts = {file: _read(file) for file in args.files}
    findings = [finding for file, text in texts.items() for finding in check_text(file, text)]
    if args.output == "json":
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for found in findings:
            print(f"{found.file}:{found.line}: {found.name}: {found.message} [{found.reason}]")
    if findings:
        return FINDINGS
    count = sum(1 for text in texts.values() for node in _documents(text) if _is_ours(node[1]))
    if not count:
        raise UsageError(f"no {KIND} in {', '.join(args.files)}")
    print(f"{count} {KIND}{'s' if count > 1 else ''}: no mistakes", file=sys.stderr)
    return OK


def check_text(file: str, text: str) -> list[Finding]:
    """Every mistake of every ModelDeployment in a YAML text, in the order of lines.

    Args:
        file: its name, for the findings.
        text: YAML or JSON, any number of documents.
    """
    findings = []
    try:
        for index, (node, obj) in enumerate(_documents(text), 1):
            if _is_ours(obj):
                name = f"{KIND}/{_name(obj)}"
                found = [*_duplicates(node), *object_problems(obj)]
                findings += [_finding(file, index, name, node, one) for one in found]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        return [*findings, Finding(file, 0, line, "YAML", "", "InvalidYaml", str(error.problem or error))]
    return sorted(findings, key=lambda finding: finding.line)


def object_problems(obj: dict[str, Any]) -> Iterator[Problem]:
    """All that can be said of one object without a cluster: API and engines."""
    from slipway import engines
    from slipway.api import API_VERSION
    from slipway.api.modeldeployment import ModelDeploymentSpec

    if obj.get("apiVersion") != API_VERSION:
        yield problem(("apiVersion",), f"{obj.get('apiVersion')!r} must be {API_VERSION}")
    yield from problems(obj)
    spec = salvage(ModelDeploymentSpec, obj.get("spec"))
    for found in engines.problems(spec) if spec else ():
        text = found.message.removeprefix(f"{found.path}: ")
        yield problem(tuple(found.path.split(".")), text, found.reason)


def _read(file: str) -> str:
    return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")


def _documents(text: str) -> Iterator[tuple[yaml.Node, Any]]:
    """Node and value of each document; the node knows the lines."""
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                yield node, loader.construct_document(node)
    finally:
        loader.dispose()


def _is_ours(obj: Any) -> bool:
    return isinstance(obj, dict) and obj.get("kind") == KIND


def _name(obj: dict[str, Any]) -> str:
    metadata = obj.get("metadata")
    return str(metadata.get("name", "?")) if isinstance(metadata, dict) else "?"


def _duplicates(node: yaml.Node, location: Location = ()) -> Iterator[Problem]:
    """Fields that are written twice: YAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield problem((*location, key.value), "is written twice")
            seen.add(key.value)
            yield from _duplicates(value, (*location, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _duplicates(value, (*location, index))


def _finding(file: str, document: int, name: str, node: yaml.Node, found: Problem) -> Finding:
    return Finding(
        file, document, find_line(node, found.location), name, found.path, found.reason, found.message
    )


def find_line(node: yaml.Node, location: Location) -> int:
    """Line of the deepest part of this location that the document has."""
    line = int(node.start_mark.line)
    for part in location:
        below = None
        if isinstance(node, yaml.MappingNode):
            below = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            below = (node.value[part], node.value[part])
        if below is None:
            break
        line, node = int(below[0].start_mark.line), below[1]
    return line + 1
