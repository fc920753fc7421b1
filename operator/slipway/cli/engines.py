"""``slipway engines``: which engines there are, what each loads where, what each can do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slipway.cli import OK, UsageError, epilog

if TYPE_CHECKING:
    from slipway.engines import EngineDef

EXAMPLES = """\
  slipway engines                       each engine on each accelerator
  slipway engines vllm -o json          one, with the arguments that it sets
  slipway engines -o markdown           the page docs/engines.md"""
EXIT_CODES = """\
  0  printed
  2  the command line is wrong, or there is no such engine"""
COLUMNS = ("ENGINE", "ON", "NODES", "METHODS", "IMAGE")
PAGE = """\
# Engines

Written by `slipway engines -o markdown`. A `ModelDeployment` names one in `spec.engine.name`; `auto` lets the
planner choose among those marked so, by nodes and goal. Methods with `*` are applied by the engine while it
loads 16-bit weights. Any other server is used by a `ServingEngine` object (`kubectl explain seng.spec`).

## What each loads where

{loads}

## What each can do

A spec that asks for something that its engine lacks is refused, and the condition says which field it is.

{capabilities}
"""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "engines",
        help="list the engines: what each loads where, and what each can do",
        description="Lists the built-in engines: accelerators, optimisation methods, images, capabilities.",
        epilog=epilog(EXAMPLES, EXIT_CODES),
    )
    parser.add_argument("engine", nargs="?", metavar="ENGINE", help="only this one")
    parser.add_argument(
        "-o", "--output", choices=("table", "json", "markdown"), default="table", help="how to print (table)"
    )


def run(args: argparse.Namespace) -> int:
    """Print them."""
    from slipway.api.words import suggest
    from slipway.engines import ENGINES

    if args.engine is not None and args.engine not in ENGINES:
        raise UsageError(f"{args.engine!r} is no engine; {suggest(args.engine, ENGINES)}")
    chosen = {name: one for name, one in ENGINES.items() if args.engine in (None, name)}
    if args.output == "json":
        print(json.dumps([as_data(one) for one in chosen.values()], indent=2))
    elif args.output == "markdown":
        print(
            PAGE.format(loads=_markdown(COLUMNS, _rows(chosen)), capabilities=_capabilities(chosen)), end=""
        )
    else:
        print(_table(_rows(chosen)))
    return OK


def as_data(engine: EngineDef) -> dict[str, Any]:
    """One engine as JSON."""
    facts = engine.facts
    return {
        "name": facts.name,
        "automatic": sorted(goal or "default" for goal in facts.goals),
        "accelerators": {
            vendor: {
                "image": engine.images.get(vendor, ""),
                "architectures": sorted(facts.architectures.get(vendor, ())),
                "methods": [{"name": one.method, "atLoad": one.at_load} for one in loads],
            }
            for vendor, loads in facts.loads.items()
        },
        "modalities": sorted(facts.modalities),
        "capabilities": sorted(facts.capabilities),
        "port": engine.port,
        "metrics": {"path": engine.metrics.path, "prefix": engine.metrics.prefix},
        "reservedArguments": dict(engine.reserved_args),
    }


def _rows(chosen: Mapping[str, EngineDef]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, engine in chosen.items():
        for vendor, loads in engine.facts.loads.items():
            methods = ", ".join(f"{one.method}{'*' * one.at_load}" for one in loads)
            nodes = ", ".join(sorted(engine.facts.architectures.get(vendor, ())))
            image = engine.images.get(vendor, "") or "(the chart's images.llamacpp)"
            rows.append((name, vendor, nodes, methods, image))
    return rows


def _table(rows: list[tuple[str, ...]]) -> str:
    lines = [COLUMNS, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _markdown(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def _capabilities(chosen: Mapping[str, EngineDef]) -> str:
    """One row a capability, one column an engine."""
    from slipway.plan.capabilities import CAPABILITIES

    known = sorted({name for one in chosen.values() for name in one.facts.capabilities})
    automatic = ("yes" if one.facts.goals else "" for one in chosen.values())
    rows: list[tuple[str, ...]] = [("chosen by `auto`", *automatic)]
    for name in known:
        field = CAPABILITIES[name].field.removeprefix("engine.") if name in CAPABILITIES else ""
        label = f"{name} (`{field}`)" if field else name
        rows.append((label, *("yes" if name in one.facts.capabilities else "" for one in chosen.values())))
    return _markdown(("Capability", *chosen), rows)
