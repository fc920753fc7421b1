"""``slipway checklist``: prints one model's production checklist, from the cluster or a file."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Any

from slipway.cli import complain, epilog, terminal_width, wrap
from slipway.cli._cluster import (
    UnreadableError,
    add_model_arguments,
    namespace_of,
    no_whole,
    read_endpoint,
    unreadable,
)
from slipway.errors import ApiError, SlipwayError

if TYPE_CHECKING:
    from slipway.api.modeldeployment import ChecklistStatus, CheckResult

PASSED, FAILED, UNREADABLE = 0, 1, 2
"""Exit codes: no rule is FAIL; at least one is; there is no checklist to print."""
NAME_WIDTH = 20
RESULT_WIDTH = 6
LABEL_WIDTH = 7
EXAMPLES = """\
  slipway checklist qwen -n team
  kubectl get mdl qwen -o json | slipway checklist -f - -o json"""
EXIT_CODES = """\
  0  no rule is FAIL
  1  at least one rule is FAIL
  2  the command line is wrong, or there is no checklist: no such model, no
     cluster, or none yet"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "checklist",
        help="print the production checklist of a model",
        description="Prints one model's production checklist: value, threshold, evidence and fix of each.",
        epilog=epilog(EXAMPLES, EXIT_CODES),
    )
    add_model_arguments(parser)
    parser.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        help="read `kubectl get mdl NAME -o json` from this file, - for standard input: no cluster is asked",
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="how to print (table)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the checklist; returns one of the exit codes above."""
    try:
        found = _read(args)
        checklist = checklist_of(found)
    except SlipwayError as error:
        return complain("checklist", str(error), UNREADABLE)
    if args.output == "json":
        print(json.dumps(checklist.model_dump(by_alias=True, exclude_none=True), indent=2))
    else:
        print(table(str(found["metadata"]["name"]), checklist, terminal_width()))
    return FAILED if any(row.result == "FAIL" for row in checklist.results) else PASSED


def _read(args: argparse.Namespace) -> dict[str, Any]:
    if bool(args.name) == bool(args.filename):
        raise UnreadableError("name one ModelDeployment, or a file by -f")
    return read_file(args.filename) if args.filename else asyncio.run(_read_cluster(args))


def checklist_of(found: dict[str, Any]) -> ChecklistStatus:
    """``status.checklist`` of a ModelDeployment.

    Raises:
        UnreadableError: it is another kind, or there is no checklist yet.
    """
    from pydantic import ValidationError

    from slipway.api.modeldeployment import ChecklistStatus

    name, status = (found.get("metadata") or {}).get("name"), found.get("status") or {}
    if found.get("kind") != "ModelDeployment" or not name:
        kind = found.get("kind") or "file without a kind"
        raise UnreadableError(
            f"this is a {kind}, not one ModelDeployment; save one by `kubectl get mdl NAME -o json`"
        )
    no_whole(found)
    if not status.get("checklist"):
        doing = status.get("progress") or f"`kubectl describe mdl {name}` says what it waits for"
        raise UnreadableError(f"{name} has no checklist yet, it comes once the model answers: {doing}")
    try:
        return ChecklistStatus.model_validate(status["checklist"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"status.checklist is from another version of Slipway ({where}: {first['msg'].lower()})"
        raise UnreadableError(f"{text}: use the operator's own `slipway` to read it") from error


def table(name: str, checklist: ChecklistStatus, width: int = 0) -> str:
    """The checklist for a person: a line a rule; for WARN and FAIL what was asked, seen, and the fix.

    Args:
        name: of the model.
        checklist: its results.
        width: of the lines; 0 is no limit.
    """
    lines = [f"{name}: {checklist.summary} passed, profile {checklist.profile}"]
    for row in checklist.results:
        lines += _row(row, width)
    return "\n".join(lines)


def _row(row: CheckResult, width: int) -> list[str]:
    indent = RESULT_WIDTH + NAME_WIDTH + 1
    lines = wrap(f"{row.result:<{RESULT_WIDTH}}{row.check:<{NAME_WIDTH}} {row.value}", width, indent)
    if row.result in ("WARN", "FAIL"):
        for label, text in (("asked:", row.threshold), ("seen:", row.evidence), ("fix:", row.fix)):
            if text:
                line = f"{'':<{indent}}{label:<{LABEL_WIDTH}}{text}"
                lines += wrap(line, width, indent + LABEL_WIDTH)
    return lines


def read_file(filename: str) -> dict[str, Any]:
    """A saved object, JSON or YAML; of a List the only item.

    Raises:
        UsageError: no such file, or no YAML.
        UnreadableError: it holds no object, or several.
    """
    from slipway.cli._files import read_data

    found = read_data(filename)
    if not isinstance(found, dict):
        raise UnreadableError(
            f"{filename}: holds no single object; save one by `kubectl get mdl NAME -o json`"
        )
    items = found.get("items")
    only = items[0] if isinstance(items, list) and len(items) == 1 else found
    return only if isinstance(only, dict) else found


async def _read_cluster(args: argparse.Namespace) -> dict[str, Any]:
    from slipway.kube import Kube
    from slipway.resources import MODEL

    endpoint = await read_endpoint(args, "name a kubeconfig by --kubeconfig, or read a saved object by -f")
    kube = Kube(endpoint)
    try:
        return await kube.get(MODEL, args.namespace or namespace_of(args), args.name)
    except ApiError as error:
        raise unreadable(error, endpoint.server, args.name) from error
    finally:
        await kube.close()
