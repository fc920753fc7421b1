"""Folders of drafts, heads and adapters, as ``slipway plan`` and ``slipway render`` are given them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.cli import UsageError
from slipway.cli._inputs import read_json, read_model
from slipway.errors import InvalidSpecError

if TYPE_CHECKING:
    from slipway.api.modeldeployment import ModelDeploymentSpec
    from slipway.plan.companions import Companion, Wanted

UNKNOWN_COMMIT = "0" * 40


def add_companions(parser: argparse.ArgumentParser) -> None:
    """Options that plan and render share."""
    parser.add_argument(
        "--draft",
        metavar="DIR",
        help="folder with the config.json of what spec.engine.speculative.draft names, and its safetensors",
    )
    parser.add_argument(
        "--adapter",
        metavar="NAME=DIR",
        action="append",
        default=[],
        type=_named,
        help="folder with an adapter of spec.model.adapters, in PEFT's layout; once for each",
    )
    parser.add_argument(
        "--calibration", metavar="DIR", help="folder with the texts of spec.optimize.calibration.source"
    )


def _option(one: Wanted) -> str:
    """How the command line names it."""
    from slipway.plan.companions import LORA

    return f"--adapter {one.name}=DIR" if one.kind == LORA else f"--{one.key} DIR"


def _named(text: str) -> tuple[str, str]:
    name, joined, folder = text.partition("=")
    if not (name and joined and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=DIR, such as sql=./adapters/sql")
    return name, folder


def companions_of(args: argparse.Namespace, spec: ModelDeploymentSpec) -> tuple[Companion, ...]:
    """What the spec wants served beside the model or merged into it, from the folders of the command line.

    Raises:
        InvalidSpecError: it wants one that no option names.
        UsageError: a folder can't be read, or holds something else.
    """
    from slipway.api import reasons
    from slipway.plan.companions import CALIBRATION, DRAFT, LORA, key_of, wanted

    folders = {DRAFT: args.draft, CALIBRATION: args.calibration} | {
        key_of(name, LORA): folder for name, folder in args.adapter
    }
    found = []
    for one in wanted(spec):
        folder = folders.get(one.key)
        if folder is None:
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"{one.field}: the plan rests on what {one.source} holds: name its folder by {_option(one)} "
                "(in a cluster, inspect reads it)",
            )
        found.append(_read(one, Path(folder)))
    return tuple(found)


def _read(one: Wanted, folder: Path) -> Companion:
    from slipway.plan.companions import DRAFT, companion_from_wire, draft_companion
    from slipway_runtime.errors import StageError

    if one.kind == DRAFT:
        facts = read_model(folder, None, vocabulary=True)
        return draft_companion(one, commit_of(one), facts)
    try:
        return companion_from_wire(one, commit_of(one), _facts(one, folder))
    except StageError as error:
        raise UsageError(f"{folder}: {error}") from error


def _facts(one: Wanted, folder: Path) -> dict[str, Any]:
    from slipway.plan.companions import CALIBRATION, LORA, MERGE
    from slipway_runtime.companion_facts import adapter_facts, heads_facts
    from slipway_runtime.companion_files import select_texts
    from slipway_runtime.sources import RemoteFile
    from slipway_runtime.weights import ADAPTER, ADAPTER_CONFIG, CONFIG, check_weights, is_weights

    if one.kind == CALIBRATION:
        found = (path for path in folder.rglob("*") if path.is_file())
        listed = [RemoteFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in found]
        return {"weightBytes": 0, "downloadBytes": sum(file.size for file in select_texts(listed))}
    adapter = one.kind in (LORA, MERGE)
    name = ADAPTER_CONFIG if adapter else CONFIG
    if not (folder / name).is_file():
        raise UsageError(f"{folder} holds no {name}: name the folder of {one.source}")
    config = read_json(folder / name)
    if not adapter:
        files = [path for path in sorted(folder.glob("*.safetensors")) if is_weights(path.name)]
        facts = heads_facts(config, one.kind)
    elif (folder / ADAPTER).is_file():
        files = [folder / ADAPTER]
        facts = adapter_facts(config, check_weights(files[0]), merging=one.kind == MERGE)
    else:
        raise UsageError(f"{folder} holds no {ADAPTER}: its shapes say what it is for")
    size = sum(path.stat().st_size for path in files)
    return {**facts, "weightBytes": size, "downloadBytes": size}


def commit_of(one: Wanted) -> str:
    """The revision, where it is a commit; else zeros."""
    from slipway.api.sources import is_commit

    return one.revision if is_commit(one.revision) else UNKNOWN_COMMIT
