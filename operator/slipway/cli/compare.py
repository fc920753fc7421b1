"""``slipway compare``: what each level of a model costs and keeps, side by side, and as a picture."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.cli import PRINTED, UsageError, complain, epilog
from slipway.cli._cluster import (
    UnreadableError,
    add_model_arguments,
    namespace_of,
    read_endpoint,
    unreadable,
)
from slipway.errors import ApiError, SlipwayError

if TYPE_CHECKING:
    from slipway.cli._levels import Level

UNREADABLE = 2
MISSING = "-"
COLUMNS = ("LEVEL", "SIZE", "BITS/WEIGHT", "PERPLEXITY", "LOSS", "PUBLISHED", "KLD", "SAME TOP", "TOKENS/S")
PICTURES = (".png", ".html")
NOT_FOUND = 404
EXAMPLES = """\
  slipway compare qwen -n team
  slipway compare qwen --plot levels.html
  kubectl get mdl,mart -o json | slipway compare qwen -f - --plot levels.png"""
LEGEND = (
    "* is served. KLD is in nats a token, against the unquantised model; PUBLISHED is usual for the level."
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "compare",
        help="compare the levels of a model: size against quality",
        description="Prints size, bits a weight, perplexity, KL divergence and speed of every level that was "
        "made of a model: the served one, and those of spec.optimize.compare.",
        epilog=epilog(EXAMPLES, PRINTED),
    )
    add_model_arguments(parser)
    parser.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        help="read `kubectl get mdl,mart -o json` from this file, - for standard input",
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="how to print (table)"
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw size against loss: .html (no script, light and dark), .png (needs slipway-operator[plot])",
    )
    parser.add_argument("--dark", action="store_true", help="a dark .png; .html follows its reader")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the levels; returns 0, or 2 when there is nothing to read."""
    from slipway.cli._levels import read_levels

    if args.plot and Path(args.plot).suffix not in PICTURES:
        raise UsageError(f"--plot {args.plot}: a picture ends in {' or '.join(PICTURES)}")
    try:
        model, artifacts = _read(args)
        levels = read_levels(model, artifacts)
    except SlipwayError as error:
        return complain("compare", str(error), UNREADABLE)
    if args.output == "json":
        print(json.dumps([_wire(one) for one in levels], indent=2))
    else:
        print(table(levels))
    if args.plot:
        _draw(str(model["metadata"]["name"]), levels, Path(args.plot), dark=args.dark)
    return 0


def _draw(name: str, levels: Sequence[Level], path: Path, *, dark: bool) -> None:
    from slipway.cli import _chart

    chart = _chart.build(name, levels)
    if path.suffix == ".html":
        from slipway.cli._picture_html import page

        path.write_text(page(chart), encoding="utf-8")
    else:
        from slipway.cli._picture_png import save

        save(chart, path, dark=dark)


def _wire(level: Level) -> dict[str, Any]:
    names = {"size": "sizeBytes", "bits": "bitsPerWeight", "loss": "lossPercent", "band": "publishedLoss"}
    names |= {"agreement": "topAgreementPercent", "speed": "tokensPerSecond"}
    return {names.get(key, key): value for key, value in asdict(level).items() if value is not None}


def table(levels: Sequence[Level]) -> str:
    """The levels for a person: a line each, then what is wrong with some, then what the columns mean."""
    rows = [COLUMNS, *(_cells(one) for one in levels)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines += [f"{one.name}: {one.message}" for one in levels if one.message]
    return "\n".join([*lines, LEGEND])


def _cells(one: Level) -> tuple[str, ...]:
    size = f"{one.size / 1e9:.2f} GB" if one.size else MISSING
    return (
        f"{one.name} *" if one.served else one.name,
        size,
        _figure(one.bits, 2),
        _figure(one.perplexity, 4),
        _figure(one.loss, 1, "%"),
        one.band or MISSING,
        _figure(one.kld, 4),
        _figure(one.agreement, 1, "%"),
        _figure(one.speed, 1),
    )


def _figure(value: float | None, digits: int, unit: str = "") -> str:
    return MISSING if value is None else f"{value:.{digits}f}{unit}"


def _read(args: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from slipway.cli._levels import artifact_names

    if not (args.name or args.filename):
        raise UnreadableError("name one ModelDeployment, or a file by -f")
    if not args.filename:
        return asyncio.run(_read_cluster(args))
    model, others = _read_file(args.filename, args.name)
    names = artifact_names(model)
    return model, [one for one in others if one["metadata"]["name"] in names]


def _read_file(filename: str, name: str | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from slipway.cli._files import read_data

    found = read_data(filename)
    items = found.get("items") if isinstance(found, dict) else None
    items = [one for one in items or () if isinstance(one, dict)]
    models = [one for one in items if one.get("kind") == "ModelDeployment"]
    models = [one for one in models if name in (None, one["metadata"]["name"])]
    if len(models) != 1:
        which = f"called {name}" if name else "without a NAME to choose one"
        raise UnreadableError(
            f"{filename}: holds {len(models)} ModelDeployments {which}; save them with their artifacts by "
            "`kubectl get mdl,mart -o json`"
        )
    return models[0], [one for one in items if one.get("kind") == "ModelArtifact"]


async def _read_cluster(args: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from slipway.cli._levels import artifact_names
    from slipway.kube import Kube
    from slipway.resources import ARTIFACT, MODEL

    endpoint = await read_endpoint(args, "name a kubeconfig by --kubeconfig, or read saved objects by -f")
    kube = Kube(endpoint)
    namespace = args.namespace or namespace_of(args)
    found = []
    try:
        model = await kube.get(MODEL, namespace, args.name)
        for name in artifact_names(model):
            try:
                found.append(await kube.get(ARTIFACT, namespace, name))
            except ApiError as error:
                if error.status != NOT_FOUND:
                    raise
    except ApiError as error:
        raise unreadable(error, endpoint.server, args.name) from error
    finally:
        await kube.close()
    return model, found
