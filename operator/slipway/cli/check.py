"""``slipway check``: every mistake of ModelDeployments in files, at once, with its line; needs no cluster."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import yaml

from slipway.cli import FINDINGS, OK, USAGE, UsageError, complain, epilog
from slipway.cli._files import KIND, BrokenYamlError, Document, documents, none_found, read_text

if TYPE_CHECKING:
    from slipway.api.validate import Location

EXAMPLES = """\
  slipway check model.yaml
  slipway check models/*.yaml -o json
  kubectl get mdl -A -o yaml | slipway check -"""
EXIT_CODES = """\
  0  no mistakes
  1  mistakes, a line each
  2  the command line is wrong, a file can't be read, or there is none to check"""


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
        help="report every mistake of ModelDeployments in files",
        description="Checks ModelDeployments in YAML or JSON files, also inside a List; objects of other "
        "kinds are passed over. Needs no cluster.",
        epilog=epilog(EXAMPLES, EXIT_CODES),
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file; - is standard input")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="how to print (text)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the findings; returns 1 when there are any."""
    findings: list[Finding] = []
    kinds: list[str] = []
    unreadable = []
    for file in dict.fromkeys(args.files):
        try:
            found, seen = examine(file, read_text(file))
        except UsageError as error:  # the other files are checked all the same
            unreadable.append(str(error))
        else:
            findings += found
            kinds += seen
    if args.output == "json":
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for one in findings:
            print(f"{one.file}:{one.line}: {one.name}: {one.message} [{one.reason}]")
    for message in unreadable:
        complain("check", message)
    if unreadable or findings:
        return USAGE if unreadable else FINDINGS
    count = kinds.count(KIND)
    if not count:
        raise none_found(args.files, kinds)
    print(f"{count} {KIND}{'s' if count > 1 else ''}: no mistakes", file=sys.stderr)
    return OK


def check_text(file: str, text: str) -> list[Finding]:
    """Every mistake of every ModelDeployment in a YAML text, in the order of lines.

    Args:
        file: its name, for the findings.
        text: YAML or JSON, any number of documents.
    """
    return examine(file, text)[0]


def examine(file: str, text: str) -> tuple[list[Finding], list[str]]:
    """The findings of a text in the order of lines, and the kinds of its objects."""
    findings: list[Finding] = []
    kinds = []
    try:
        for document in documents(file, text):
            kinds.append(document.kind)
            if document.kind == KIND:
                findings += _findings(file, document)
    except BrokenYamlError as error:
        findings.append(Finding(file, 0, error.line, "YAML", "", "InvalidYaml", error.cause))
    return sorted(findings, key=lambda finding: finding.line), kinds


def _findings(file: str, document: Document) -> Iterator[Finding]:
    from slipway.api.validate import problem
    from slipway.cli._mistakes import name_of, object_problems

    twice = (problem(location, "is written twice") for location in document.twice)
    name = f"{KIND}/{name_of(document.value)}"
    for one in (*twice, *object_problems(document.value)):
        line = find_line(document.node, one.location)
        yield Finding(file, document.number, line, name, one.path, one.reason, one.message)


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
