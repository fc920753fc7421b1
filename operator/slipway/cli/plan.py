"""``slipway plan``: what would be decided, from files, without a cluster. ``render`` shares its inputs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from slipway.api.modeldeployment import ModelDeploymentSpec, PlanStatus
    from slipway.plan.facts import ModelFacts, NodeFacts

KIND = "ModelDeployment"
LABEL_WIDTH = 12
OPTION_WIDTH = 42
ASSUMED_CORES = 8
ASSUMED_MEMORY = 1024**4
ASSUMED = f"no --nodes: planned for one amd64 node with {ASSUMED_CORES} cores and memory for everything"


@dataclass(frozen=True)
class Given:
    """One ModelDeployment of the file, valid."""

    name: str
    namespace: str
    spec: ModelDeploymentSpec


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "plan",
        help="print engine, level, memory and resources that would be chosen, and why; needs no cluster",
        description="Plans the ModelDeployments of a file against nodes and a model's config.json.",
    )
    add_inputs(parser)
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "json"),
        default="table",
        help="json has the fields of status.plan; a list when the file has several objects",
    )


def add_inputs(parser: Any) -> None:
    """Options that plan and render share."""
    parser.add_argument(
        "file", metavar="FILE", help="YAML or JSON with ModelDeployments; - is standard input"
    )
    parser.add_argument("--nodes", metavar="FILE", help="output of: kubectl get nodes -o json")
    parser.add_argument(
        "--model", metavar="DIR", help="folder with the model's config.json, and its safetensors when known"
    )
    parser.add_argument(
        "--parameters", type=int, metavar="N", help="number of weights, when the folder has only config.json"
    )


def run(args: argparse.Namespace) -> int:
    """Print one plan for each ModelDeployment."""
    from slipway.cli import OK, UsageError
    from slipway.plan.decide import decide, plan_status
    from slipway.settings import read_settings

    if args.model is None:
        raise UsageError(
            "--model DIR is needed: a folder with the model's config.json (in a cluster, inspect reads it)"
        )
    facts, nodes = read_model(Path(args.model), args.parameters), nodes_or_assumed(args.nodes)
    models = read_models(args.file)
    plans = [plan_status(decide(one.spec, facts, nodes, read_settings())) for one in models]
    if args.output == "json":
        dumped = [plan.model_dump(by_alias=True, exclude_none=True) for plan in plans]
        print(json.dumps(dumped[0] if len(dumped) == 1 else dumped, indent=2))
    else:
        print("\n\n".join(table(one.name, plan) for one, plan in zip(models, plans, strict=True)))
    return OK


def read_models(file: str) -> list[Given]:
    """Every ModelDeployment of a file.

    Raises:
        UsageError: the file is no YAML, or has none.
        InvalidSpecError: one of them is wrong; ``slipway check`` tells more.
    """
    from slipway import engines
    from slipway.api.validate import parse
    from slipway.cli import UsageError
    from slipway.errors import InvalidSpecError

    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    found = []
    for obj in _documents(file, text):
        spec = parse(obj)
        if mistakes := engines.problems(spec):
            raise InvalidSpecError(mistakes[0].reason, "; ".join(one.message for one in mistakes))
        metadata = obj["metadata"]
        found.append(Given(metadata["name"], metadata.get("namespace") or "default", spec))
    if not found:
        raise UsageError(f"no {KIND} in {file}")
    return found


def _documents(file: str, text: str) -> Iterator[dict[str, Any]]:
    from slipway.cli import UsageError

    try:
        for obj in yaml.safe_load_all(text):
            items = (
                obj.get("items") if isinstance(obj, dict) and isinstance(obj.get("items"), list) else [obj]
            )
            yield from (one for one in items or () if isinstance(one, dict) and one.get("kind") == KIND)
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is no YAML: {' '.join(str(error).split())}") from error


def nodes_or_assumed(file: str | None) -> list[NodeFacts]:
    """Nodes of a file; without one an assumed node, which is said on standard error."""
    from slipway.plan.facts import NodeFacts

    if file is not None:
        return read_nodes(Path(file))
    print(f"slipway: {ASSUMED}", file=sys.stderr)
    return [NodeFacts("assumed", "amd64", ASSUMED_CORES, ASSUMED_MEMORY, ASSUMED_MEMORY, ready=True)]


def read_nodes(file: Path) -> list[NodeFacts]:
    """Nodes of ``kubectl get nodes -o json`` (or yaml), or of one Node.

    Raises:
        UsageError: the file holds something else.
    """
    from slipway.cli import UsageError
    from slipway.plan.nodes import node_facts

    try:
        obj = yaml.safe_load(file.read_text(encoding="utf-8"))
        items = obj.get("items", [obj])
        if not all(one["kind"] == "Node" for one in items):
            raise UsageError(f"{file} holds something else than Nodes: make it by kubectl get nodes -o json")
        return [node_facts(one) for one in items]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file} is no output of kubectl get nodes -o json ({error})") from error


def read_model(folder: Path, parameters: int | None) -> ModelFacts:
    """Facts of a model's folder: config.json, and the weights' headers or index when they are there.

    Raises:
        UsageError: a file is broken.
        InvalidSpecError: config.json describes no language model.
    """
    from slipway.cli import UsageError
    from slipway.plan.model_config import model_facts

    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise UsageError(f"{path} is no JSON object")
    counted, weight_bytes = _weights(folder)
    return model_facts(config, parameters or counted, weight_bytes)


def _weights(folder: Path) -> tuple[int | None, int | None]:
    """Number and bytes of the weights, from the safetensors, else from their index; None where unknown."""
    from slipway.cli import UsageError
    from slipway_runtime.errors import StageError
    from slipway_runtime.weights import INDEX, is_weights, read_header

    files = sorted(path for path in folder.glob("*.safetensors") if is_weights(path.name))
    if files:
        try:
            headers = [read_header(path.name, path.stat().st_size, _reader(path)) for path in files]
        except StageError as error:
            raise UsageError(f"{folder}: {error}") from error
        return sum(sum(one.parameters.values()) for one in headers), sum(
            path.stat().st_size for path in files
        )
    index = folder / INDEX
    if not index.is_file():
        return None, None
    metadata = json.loads(index.read_text(encoding="utf-8")).get("metadata") or {}
    count, size = metadata.get("total_parameters"), metadata.get("total_size")
    return int(count) if count else None, int(size) if size else None


def _reader(path: Path) -> Any:
    def read(start: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    return read


def table(name: str, plan: PlanStatus) -> str:
    """A plan for people."""
    from slipway.plan.quantities import gib_text

    memory, requests = plan.memory, "request" if plan.concurrency == 1 else "requests"
    parts = (
        ("weights", memory.weights),
        ("KV cache", memory.kv_cache),
        ("activations", memory.activations),
        ("overhead", memory.overhead),
    )
    nodes = ", ".join(f"{key}={value}" for key, value in (plan.node_selector or {}).items())
    rows = [
        ("model", name),
        ("engine", plan.engine),
        ("method", plan.method),
        ("level", plan.level),
        ("context", f"{plan.concurrency} {requests} of {plan.context_length} tokens"),
        ("threads", str(plan.threads)),
        ("nodes", nodes or "any"),
        (
            "memory",
            f"{gib_text(memory.total)}: " + ", ".join(f"{what} {gib_text(size)}" for what, size in parts),
        ),
        ("resources", ", ".join(f"{what} {amount}" for what, amount in plan.resources.items())),
        ("reason", plan.reason),
    ]
    lines = [f"{label:<{LABEL_WIDTH}}{value}" for label, value in rows]
    return "\n".join([*lines, *_rejected(plan)])


def _rejected(plan: PlanStatus) -> Sequence[str]:
    if not plan.rejected:
        return ()
    return ["", f"{'REJECTED':<{OPTION_WIDTH}}WHY"] + [
        f"{one.option:<{OPTION_WIDTH}}{one.reason}" for one in plan.rejected
    ]
