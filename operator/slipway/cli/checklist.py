"""``slipway checklist``: prints one model's production checklist, from the cluster or a file."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from slipway.api.modeldeployment import ChecklistStatus, CheckResult
from slipway.endpoint import read_endpoint
from slipway.errors import ApiError, SlipwayError
from slipway.kube import Kube
from slipway.resources import MODEL

PASSED, FAILED, UNREADABLE = 0, 1, 2
"""Exit codes: no rule is FAIL; at least one is; there is no checklist to print."""
NAME_WIDTH = 20


class UnreadableError(SlipwayError):
    """There is no checklist to print; the message says why and what to do."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "checklist",
        help="print the production checklist of a model; exit code 1 if a rule is FAIL, 2 if there is none",
        description="Print one model's production checklist: value, threshold, evidence and fix of each.",
    )
    parser.add_argument("name", nargs="?", help="ModelDeployment")
    parser.add_argument("-n", "--namespace", help="its namespace; default: the context's")
    parser.add_argument("--context", help="context of the kubeconfig; default: the current one")
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, then ~/.kube/config")
    parser.add_argument(
        "-f",
        "--filename",
        help="read `kubectl get mdl NAME -o json` from this file (- for stdin), no cluster",
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the checklist; returns one of the exit codes above."""
    try:
        found = _read(args)
        checklist = checklist_of(found)
    except (ApiError, UnreadableError) as error:
        print(f"slipway checklist: {error}", file=sys.stderr)
        return UNREADABLE
    if args.output == "json":
        print(json.dumps(checklist.model_dump(by_alias=True, exclude_none=True), indent=2))
    else:
        print(table(str(found["metadata"]["name"]), checklist))
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
    if found.get("kind") != "ModelDeployment":
        raise UnreadableError(
            f"this is a {found.get('kind') or 'file without a kind'}, not a ModelDeployment"
        )
    status = found.get("status") or {}
    if not status.get("checklist"):
        name = found["metadata"]["name"]
        doing = status.get("progress") or f"`kubectl describe mdl {name}` says what it waits for"
        raise UnreadableError(f"{name} has no checklist yet, it comes once the model answers: {doing}")
    try:
        return ChecklistStatus.model_validate(status["checklist"])
    except ValidationError as error:
        raise UnreadableError(f"status.checklist is from another version of Slipway: {error}") from error


def table(name: str, checklist: ChecklistStatus) -> str:
    """The checklist for a person: a line a rule; for WARN and FAIL what was asked, seen, and the fix."""
    lines = [f"{name}: {checklist.summary} passed, profile {checklist.profile}"]
    for row in checklist.results:
        lines += _row(row)
    return "\n".join(lines)


def _row(row: CheckResult) -> list[str]:
    lines = [f"{row.result:<5} {row.check:<{NAME_WIDTH}} {row.value}"]
    if row.result in ("WARN", "FAIL"):
        indent = " " * (6 + NAME_WIDTH + 1)
        lines += [f"{indent}asked: {row.threshold}", f"{indent}seen:  {row.evidence}"]
        lines += [f"{indent}fix:   {row.fix}"] if row.fix else []
    return lines


def read_file(filename: str) -> dict[str, Any]:
    """A saved object, JSON or YAML.

    Raises:
        UnreadableError: no such file, or it holds no object.
    """
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
        found = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnreadableError(f"{filename}: {error}") from error
    if not isinstance(found, dict):
        raise UnreadableError(f"{filename}: holds no object; save one by `kubectl get mdl NAME -o json`")
    return found


async def _read_cluster(args: argparse.Namespace) -> dict[str, Any]:
    endpoint = await read_endpoint(args.kubeconfig, args.context)
    kube = Kube(endpoint)
    try:
        return await kube.get(MODEL, args.namespace or _namespace(args), args.name)
    finally:
        await kube.close()


def _namespace(args: argparse.Namespace) -> str:
    """Namespace of the chosen context, as kubectl takes it; ``default`` when none is set."""
    from kubernetes.aio import config

    untyped: Any = config
    try:
        contexts, active = untyped.list_kube_config_contexts(args.kubeconfig)
    except config.ConfigException:
        return "default"
    chosen = next((one for one in contexts if one["name"] == args.context), active)
    return str(chosen["context"].get("namespace") or "default")
