"""``slipway plan``: what would be decided, from files, without a cluster."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.cli import FINDINGS, OK, UsageError, complain, epilog, terminal_width, wrap
from slipway.cli._companions import add_companions, companions_of
from slipway.cli._inputs import (
    Given,
    Refused,
    add_inputs,
    nodes_or_assumed,
    read_model,
    read_models,
    settings_or_refusal,
)

if TYPE_CHECKING:
    from slipway.api.modeldeployment import PlanStatus
    from slipway.plan.facts import ModelFacts, NodeFacts
    from slipway.settings import Settings

LABEL_WIDTH = 12
OPTION_WIDTH = 42
GAP = 2
"""Blanks between columns."""
EXAMPLES = """\
  kubectl get nodes -o json > nodes.json
  slipway plan model.yaml --model ~/models/qwen --nodes nodes.json
  kubectl get mdl -o yaml | slipway plan - --model ~/models/qwen -o json"""
EXIT_CODES = """\
  0  every ModelDeployment has a plan
  1  one has none, it is wrong or fits no node; the others are printed
  2  the command line is wrong, or a file can't be read"""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "plan",
        help="print what would be decided, and why",
        description="Plans the ModelDeployments of a file against nodes and a model's config.json: engine, "
        "level, memory, resources, and why. Needs no cluster.",
        epilog=epilog(EXAMPLES, EXIT_CODES),
    )
    add_inputs(parser)
    add_companions(parser)
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "json"),
        default="table",
        help="how to print (table). json has the fields of status.plan; for a file with several "
        "ModelDeployments it is a list in their order, with null for one that has no plan",
    )


def run(args: argparse.Namespace) -> int:
    """Print one plan for each ModelDeployment; what has none is named on standard error."""
    if args.model is None:
        raise UsageError(
            "--model DIR is needed: a folder with the model's config.json (in a cluster, inspect reads it)"
        )
    models, settings = read_models(args.file), settings_or_refusal()
    facts = read_model(Path(args.model), args.parameters, vocabulary=args.draft is not None)
    nodes = nodes_or_assumed(args.nodes)
    outcomes = [(one.name, outcome(one, facts, nodes, settings, args)) for one in models]
    if args.output == "json":
        _print_json([None if isinstance(found, tuple) else found for _, found in outcomes])
    else:
        width = terminal_width()
        planned = [table(name, found, width) for name, found in outcomes if not isinstance(found, tuple)]
        print("\n\n".join(planned), end="\n" if planned else "")
    failed = [(name, found) for name, found in outcomes if isinstance(found, tuple)]
    for name, mistakes in failed:
        for mistake in mistakes:
            complain("plan", f"{name}: {mistake}")
    return FINDINGS if failed else OK


def outcome(
    one: Given | Refused,
    facts: ModelFacts,
    nodes: list[NodeFacts],
    settings: Settings,
    args: argparse.Namespace,
) -> PlanStatus | tuple[str, ...]:
    """The plan of one ModelDeployment, or why it has none."""
    from slipway.engines import decide
    from slipway.errors import InvalidSpecError
    from slipway.plan.summary import plan_status

    if isinstance(one, Refused):
        return one.mistakes
    try:
        beside = companions_of(args, one.spec)
        return plan_status(decide(one.spec, facts, nodes, settings, beside))
    except InvalidSpecError as error:
        return (str(error),)


def _print_json(plans: list[PlanStatus | None]) -> None:
    dumped = [plan and plan.model_dump(by_alias=True, exclude_none=True) for plan in plans]
    if len(dumped) > 1:
        print(json.dumps(dumped, indent=2))
    elif dumped[0]:
        print(json.dumps(dumped[0], indent=2))


def table(name: str, plan: PlanStatus, width: int = 0) -> str:
    """A plan for people, in lines of this width; 0 is no limit."""
    rows = [f"{label:<{LABEL_WIDTH}}{value}" for label, value in _rows(name, plan)]
    lines = [line for row in rows for line in wrap(row, width, LABEL_WIDTH)]
    return "\n".join([*lines, *_rejected(plan, width)])


def _rows(name: str, plan: PlanStatus) -> Iterator[tuple[str, str]]:
    from slipway.plan.quantities import gib_text

    memory, requests = plan.memory, "request" if plan.concurrency == 1 else "requests"
    parts = (
        ("weights", memory.weights),
        ("KV cache", memory.kv_cache),
        ("activations", memory.activations),
        ("overhead", memory.overhead),
        *((("companions", memory.companions),) if memory.companions else ()),
    )
    yield "model", name
    yield "engine", plan.engine
    yield "method", plan.method
    yield "level", plan.level
    yield "context", f"{plan.concurrency} {requests} of {plan.context_length} tokens"
    yield "threads", str(plan.threads)
    yield "nodes", ", ".join(f"{key}={value}" for key, value in (plan.node_selector or {}).items()) or "any"
    sizes = ", ".join(f"{what} {gib_text(size)}" for what, size in parts)
    yield "memory", f"{gib_text(memory.total)}: {sizes}"
    yield "resources", ", ".join(f"{what} {amount}" for what, amount in plan.resources.items())
    yield "reason", plan.reason


def _rejected(plan: PlanStatus, width: int) -> list[str]:
    if not plan.rejected:
        return []
    rows = [("REJECTED", "WHY"), *((one.option, one.reason) for one in plan.rejected)]
    column = min(OPTION_WIDTH, max(len(option) for option, _ in rows) + GAP) if width else OPTION_WIDTH
    return ["", *(line for option, reason in rows for line in _two_columns(option, reason, column, width))]


def _two_columns(option: str, reason: str, column: int, width: int) -> list[str]:
    """Names of several nodes are longer than a column: on a terminal they get lines of their own."""
    if width and len(option) > column - GAP:
        return [*wrap(option, width, GAP), *wrap(f"{'':<{column}}{reason}", width, column)]
    return wrap(f"{option:<{column - GAP}}{'':<{GAP}}{reason}", width, column)
