"""The stage inspect: which model is this, at which commit, and how large; its weights stay where they are.

Called by stage.py. Reads the listing, config.json and the safetensors headers by HTTP range.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slipway_runtime.errors import DataError
from slipway_runtime.facts import build_facts, served_modality
from slipway_runtime.job import Job
from slipway_runtime.llamacpp import architectures, is_convertible
from slipway_runtime.log import LOGGER
from slipway_runtime.model_figures import text_architectures
from slipway_runtime.progress import format_bytes
from slipway_runtime.quantised import MODELOPT
from slipway_runtime.sources import RemoteFile, Repository, connect
from slipway_runtime.weights import CONFIG, INDEX, Header, check_index, is_weights, read_header, select_files

PARALLEL = 8
"""Requests at a time: large models have hundreds of shards, and each costs a round trip."""


def inspect(job: Job) -> dict[str, Any]:
    """Resolve the revision and read the facts; models that neither write text nor embed are refused early.

    An architecture that llama.cpp's converter does not know is none of them: another engine may serve it, and
    which one the planner says.

    Returns:
        ``{"commit", "facts", "files"}``; ``files`` is how many the fetch stage will download.
    """
    repository = connect(job)
    listing = repository.list_files(job.revision)
    selected = select_files(listing.files)
    by_path = {file.path: file for file in selected}
    config = read_json_file(repository, listing.commit, by_path[CONFIG])
    modality = served_modality(config, listing)
    convertible = is_convertible(modality, text_architectures(config), architectures(job.environment))
    if INDEX in by_path:
        check_index(read_json_file(repository, listing.commit, by_path[INDEX]), selected)
    beside = read_json_file(repository, listing.commit, by_path[MODELOPT]) if MODELOPT in by_path else None
    headers = read_headers(repository, listing.commit, [file for file in selected if is_weights(file.path)])
    facts = build_facts(config, headers, listing, selected, beside)
    facts["convertible"] = convertible
    LOGGER.info(
        "%s with %d parameters, %s to download, licence %s",
        facts["architecture"],
        facts["parameters"],
        format_bytes(facts["downloadBytes"]),
        facts["license"] or "unknown",
    )
    return {"commit": listing.commit, "facts": facts, "files": len(selected)}


def read_json_file(repository: Repository, commit: str, file: RemoteFile) -> dict[str, Any]:
    """Return a JSON object from the repository; DataError BrokenConfig when it is none."""
    try:
        value = json.loads(repository.read_range(commit, file, 0, file.size)) if file.size else None
    except ValueError as error:
        raise DataError("BrokenConfig", f"{file.path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError("BrokenConfig", f"{file.path} is no JSON object")
    return value


def read_headers(repository: Repository, commit: str, weights: Iterable[RemoteFile]) -> list[Header]:
    """Return the header of every safetensors file, checked against the file's size."""

    def read(file: RemoteFile) -> Header:
        return read_header(
            file.path, file.size, lambda start, length: repository.read_range(commit, file, start, length)
        )

    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(read, weights))
