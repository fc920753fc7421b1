"""Weights or layers removed: by magnitude, by number, by what each costs; by Wanda and SparseGPT with tools.

Levels are ``SPARSE``, the same tensors with zeros, and ``SHORT``, fewer layers.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from slipway_runtime import contract, files
from slipway_runtime.errors import RequestError
from slipway_runtime.job import Job
from slipway_runtime.methods import _layers as layers
from slipway_runtime.methods import _sparse as sparse
from slipway_runtime.methods._recipes import refuse_others
from slipway_runtime.model_folder import make_folder
from slipway_runtime.weights import CONFIG

NAME = "prune"
LEVELS = (contract.SPARSE, contract.SHORT)
STAGE = "prune"
FORM = "safetensors"
IMAGE = "optimizer"
GPU = True
OPTIONS = {
    contract.SPARSE: ("by", "sparsity", "pattern", "samples"),
    contract.SHORT: ("layers", "drop"),
}


def prune(job: Job) -> dict[str, Any]:
    """Remove what the recipe names from ``/parent/published``, into ``/store/work/model``.

    Options of ``SPARSE``: ``by`` (magnitude, wanda, sparsegpt), ``sparsity: "0.5"`` or ``pattern: "2:4"``;
    of ``SHORT``: ``layers: "3,4"``, or ``drop: "25%"`` of the layers: those whose lack costs least.

    Returns:
        ``{"sizeBytes", "files"}``, ``"made"``: what was removed, name to value; plus ``"resumed"``.

    Raises:
        RequestError: UnknownOption.
        DataError: InvalidWeights, BrokenConfig, or PruningFailed with what a tool said.
    """
    base = job.parent_published
    refuse_others(job.level, job.options(), OPTIONS[job.level])
    files.require_file(base / CONFIG, "fetch of the source artifact")
    made: dict[str, str] = {}
    work = partial(_drop if job.level == contract.SHORT else _sparsen, job, base, made)
    total = sum(path.stat().st_size for path in base.rglob("*") if path.is_file())
    return make_folder(job, total, work, made)


def _drop(job: Job, base: Path, made: dict[str, str], target: Path) -> None:
    options, count = job.options(), layers.layer_count(base)
    if "layers" in options:
        chosen = layers.read_numbers(options["layers"], count)
    else:
        wanted = contract.layers_dropped(count, options.get("drop", ""))
        costs = layers.measure(job, base)
        chosen = sorted(sorted(costs, key=lambda number: costs[number])[:wanted])
        made["cost"] = ",".join(f"{number}:{costs[number]:.4g}" for number in chosen)[:256]
    made["layers"] = ",".join(map(str, chosen))[:256]
    layers.write_without(base, target, frozenset(chosen))
    job.progress.report(1, 1)


def _sparsen(job: Job, base: Path, made: dict[str, str], target: Path) -> None:
    options = job.options()
    asked = sparse.read_asked(options)
    if options.get("by", "magnitude") == "magnitude":
        zeros, weights = sparse.by_magnitude(job, base, asked, target)
    elif options["by"] in sparse.BY_TOOLS:
        zeros, weights = sparse.by_tool(job, options["by"], asked, target)
    else:
        raise RequestError(
            "UnknownOption", f"option by is magnitude, wanda or sparsegpt, not {options['by']!r}"
        )
    made["sparsity"] = f"{zeros / max(1, weights):.4f}"
