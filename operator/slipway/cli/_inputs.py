"""What ``slipway plan`` and ``slipway render`` are given: ModelDeployments, nodes, a model's folder."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.cli import UsageError
from slipway.cli._files import KIND, documents, none_found, read_data, read_text
from slipway.cli._gguf import read_gguf

if TYPE_CHECKING:
    from slipway.api.modeldeployment import ModelDeploymentSpec
    from slipway.plan.facts import ModelFacts, NodeFacts
    from slipway.settings import Settings

BILLION = 10**9
WRONG_VALUE = (ValueError, TypeError, AttributeError)
"""What numbers and JSON of another shape raise."""
ASSUMED_CORES = 8
ASSUMED_MEMORY = 1024**4
ASSUMED = f"no --nodes: planned for one amd64 node with {ASSUMED_CORES} cores and memory for everything"


@dataclass(frozen=True)
class Given:
    """One ModelDeployment of the file, valid, or one of its pools.

    Attributes:
        pool: labels of a pool's engine pods; empty for a whole.
        whole: spec of all pools together; None for a whole.
    """

    name: str
    namespace: str
    spec: ModelDeploymentSpec
    pool: tuple[tuple[str, str], ...] = ()
    whole: ModelDeploymentSpec | None = None


@dataclass(frozen=True)
class Refused:
    """One that is wrong; ``slipway check`` says the lines."""

    name: str
    mistakes: tuple[str, ...]


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Options that plan and render share."""
    parser.add_argument(
        "file", metavar="FILE", help="YAML or JSON with ModelDeployments; - is standard input"
    )
    parser.add_argument(
        "--nodes",
        metavar="FILE",
        help="output of: kubectl get nodes -o json, or of kubectl get nodes,pods -A -o json, which says what "
        "is in use",
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="folder with the model's config.json, and its safetensors or their index when at hand; or with "
        "its GGUF files",
    )
    parser.add_argument(
        "--parameters",
        type=_count,
        metavar="N",
        help="number of weights, such as 8030261248; without it and without safetensors it is computed",
    )


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of weights: 1 or more, such as 8030261248")
    return number


def read_models(file: str) -> list[Given | Refused]:
    """Every ModelDeployment of a file, in its order, also those inside a List; pools in place of their whole.

    Raises:
        UsageError: the file can't be read, or has none.
    """
    found = list(documents(file, read_text(file)))
    models = [each for one in found if one.kind == KIND for each in _given(one.value)]
    if not models:
        raise none_found([file], (one.kind for one in found))
    return models


def _given(obj: dict[str, Any]) -> Iterator[Given | Refused]:
    from slipway.api.poolspec import pool_spec
    from slipway.api.validate import parse
    from slipway.cli._mistakes import name_of, object_problems
    from slipway.manifests.names import POOL, POOL_OF
    from slipway.manifests.pools import pool_model
    from slipway.plan.deal import Pool as Dealt
    from slipway.plan.deal import deal

    mistakes = tuple(one.message for one in object_problems(obj))
    if mistakes:
        yield Refused(name_of(obj), mistakes)
        return
    metadata, spec = obj["metadata"], parse(obj)
    name, namespace = metadata["name"], metadata.get("namespace") or "default"
    if not spec.pools:
        yield Given(name, namespace, spec)
    pools = spec.pools or ()
    dealt = deal([Dealt(one.name, one.min_replicas or 0, one.max_replicas) for one in pools], spec.replicas)
    for pool in pools:
        labels = ((POOL, pool.name), (POOL_OF, name))
        own = pool_spec(spec, name, pool, dealt[pool.name])
        yield Given(pool_model(name, pool.name), namespace, own, labels, spec)


def settings_or_refusal() -> Settings:
    """Settings of the SLIPWAY_* variables, as the operator reads them.

    Raises:
        UsageError: one of them can't be read.
    """
    from slipway.settings import read_settings

    try:
        return read_settings()
    except WRONG_VALUE as error:
        named = "a SLIPWAY_* variable"
        for variable in sorted(name for name in os.environ if name.startswith("SLIPWAY_")):
            with suppress(*WRONG_VALUE):
                read_settings({name: value for name, value in os.environ.items() if name != variable})
                named = f"{variable}={os.environ[variable]}"
        raise UsageError(f"{named} of the environment can't be read: correct it, or unset it") from error


def nodes_or_assumed(file: str | None) -> list[NodeFacts]:
    """Nodes of a file; without one an assumed node, which is said on standard error."""
    from slipway.plan.facts import NodeFacts

    if file is not None:
        return read_nodes(file)
    print(f"slipway: {ASSUMED}", file=sys.stderr)
    return [NodeFacts("assumed", "amd64", ASSUMED_CORES, ASSUMED_MEMORY, ASSUMED_MEMORY, ready=True)]


def read_nodes(file: str) -> list[NodeFacts]:
    """Nodes of ``kubectl get nodes -o json`` (or yaml), or of one Node; Pods beside them say what is in use.

    Raises:
        UsageError: the file holds something else.
    """
    from slipway.plan.nodes import node_facts
    from slipway.plan.usage import devices_used, with_usage

    found = read_data(file)
    listed = found.get("items", [found]) if isinstance(found, dict) else found
    items = listed if isinstance(listed, list) else [listed]
    if not all(isinstance(one, dict) and one.get("kind") in ("Node", "Pod") for one in items):
        raise UsageError(f"{file} holds something else than Nodes: make it by kubectl get nodes -o json")
    try:
        nodes = [node_facts(one) for one in items if one["kind"] == "Node"]
        return with_usage(nodes, devices_used(one for one in items if one["kind"] == "Pod"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{file} is no output of kubectl get nodes -o json: a node has no readable {error}"
        ) from error


def read_model(folder: Path, parameters: int | None, *, vocabulary: bool = False) -> ModelFacts:
    """Facts of a model's folder: config.json, and the weights' headers or index when they are there; or GGUF.

    A count that is only computed is said on standard error. The vocabulary is read where a draft asks for it.

    Raises:
        UsageError: a file is missing, broken, or describes no language model.
    """
    from slipway.errors import InvalidSpecError
    from slipway.plan.model_config import Beside, model_facts
    from slipway_runtime.quantised import MODELOPT

    if not folder.is_dir():
        raise UsageError(f"--model {folder}: no such folder; name the one that holds the model's config.json")
    path = folder / "config.json"
    if (found := read_gguf(folder)) is not None:
        return found
    if not path.exists():
        raise UsageError(f"--model {folder}: it holds no config.json")
    config = read_json(path)
    modelopt = read_json(folder / MODELOPT) if (folder / MODELOPT).is_file() else None
    counted, routed, weight_bytes = _weights(folder, config, modelopt)
    files = [path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/*"))]
    try:
        tokens = _vocabulary(folder) if vocabulary else ""
        beside = Beside(files, modelopt, routed, tokens)
        facts = model_facts(config, parameters or counted, weight_bytes, beside)
    except InvalidSpecError as error:
        raise UsageError(f"--model {folder}: {error}") from error
    if not (parameters or counted):
        count = facts.parameters
        amount = f"{count / 1e9:.3g} billion" if count >= BILLION else f"{count / 1e6:.3g} million"
        print(
            f"slipway: {amount} parameters, computed from config.json; --parameters N says it exactly",
            file=sys.stderr,
        )
    return facts


def _vocabulary(folder: Path) -> str:
    from slipway_runtime.vocabulary import FILE, vocabulary

    path = folder / FILE
    return vocabulary(path.read_bytes()) if path.is_file() else ""


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        UsageError: it can't be read, or holds something else.
    """
    try:
        found = json.loads(read_text(str(path)))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no JSON object, but {_json_type(found)}")
    return found


def _json_type(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _weights(
    folder: Path, config: dict[str, Any], modelopt: dict[str, Any] | None
) -> tuple[int | None, int, int | None]:
    """Number of weights, of those in routed experts, and bytes, from the safetensors, else from their index.

    None where unknown, 0 for the experts. An index counts the elements of a quantised model as they are
    stored, packed: such a count says nothing.
    """
    from slipway_runtime.errors import StageError
    from slipway_runtime.quantised import method, real_weights
    from slipway_runtime.weights import INDEX, is_weights, read_header

    files = sorted(path for path in folder.glob("*.safetensors") if is_weights(path.name))
    if files:
        try:
            headers = [read_header(path.name, path.stat().st_size, _reader(path)) for path in files]
        except StageError as error:
            raise UsageError(f"{folder}: {error}") from error
        return *real_weights(headers, config, modelopt), sum(path.stat().st_size for path in files)
    index = folder / INDEX
    metadata = read_json(index).get("metadata") if index.is_file() else None
    figures = metadata if isinstance(metadata, dict) else {}
    counted = None if method(config, modelopt) else _positive(figures.get("total_parameters"))
    return counted, 0, _positive(figures.get("total_size"))


def _positive(value: Any) -> int | None:
    """A figure of the index; some writers give it as a float. None when it is none."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value < float("inf")
    return int(value) if known else None


def _reader(path: Path) -> Any:
    def read(start: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    return read
