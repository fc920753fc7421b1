"""The stage inspect: which model is this, at which commit, and how large; its weights stay where they are.

Called by stage.py. Reads the listing, config.json and the headers of safetensors or GGUF by HTTP range.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slipway_runtime import remote_code
from slipway_runtime.companion_facts import HEADS, adapter_facts, heads_facts
from slipway_runtime.companion_files import holds_tensors, select_adapter, select_heads, select_texts
from slipway_runtime.errors import DataError
from slipway_runtime.facts import build_facts, served_modality
from slipway_runtime.gguf_facts import gguf_facts
from slipway_runtime.gguf_files import holds_gguf
from slipway_runtime.job import Job
from slipway_runtime.llamacpp import architectures, is_convertible
from slipway_runtime.log import LOGGER
from slipway_runtime.model_figures import text_architectures
from slipway_runtime.progress import format_bytes
from slipway_runtime.quantised import MODELOPT
from slipway_runtime.sources import Listing, RemoteFile, Repository, connect
from slipway_runtime.vocabulary import FILE, LIMIT, vocabulary
from slipway_runtime.weights import (
    ADAPTER_CONFIG,
    CONFIG,
    INDEX,
    Header,
    check_index,
    is_weights,
    read_header,
    select_files,
)

ADAPTERS = ("lora", "merge")
"""Roles of a LoRA adapter: beside the model, or in its weights."""
CALIBRATION = "calibration"
"""The role of texts that methods read."""
PARALLEL = 8
"""Requests at a time: large models have hundreds of shards, and each costs a round trip."""


def inspect(job: Job) -> dict[str, Any]:
    """Resolve the revision and read the facts; models that neither write text nor embed are refused early.

    An architecture that llama.cpp's converter does not know is none of them: another engine may serve it, and
    which one the planner says.

    Returns:
        ``{"commit", "facts", "files"}``; ``files`` is how many the fetch stage will download. The facts of
        heads and adapters are those of ``companion_facts``.
    """
    repository, role = connect(job), job.environment.get("SLIPWAY_ROLE", "")
    if role == CALIBRATION:
        return inspect_texts(repository, job.revision)
    if role in ADAPTERS or role in HEADS:
        return inspect_companion(repository, job.revision, role)
    listing = repository.list_files(job.revision)
    # A draft is made for the engine that the model gets: of GGUF files that is not known yet.
    if role != "draft" and holds_gguf(listing.files):
        return inspect_gguf(repository, job.source, listing)
    selected = select_files(listing.files)
    by_path = {file.path: file for file in selected}
    config = read_json_file(repository, listing.commit, by_path[CONFIG])
    modality = served_modality(config, listing)
    convertible = is_convertible(modality, text_architectures(config), architectures(job.environment))
    code = remote_code.select(job, repository, listing, config)
    if INDEX in by_path:
        check_index(read_json_file(repository, listing.commit, by_path[INDEX]), selected)
    beside = read_json_file(repository, listing.commit, by_path[MODELOPT]) if MODELOPT in by_path else None
    headers = read_headers(repository, listing.commit, [file for file in selected if is_weights(file.path)])
    facts = build_facts(config, headers, listing, [*selected, *code], beside)
    facts |= {"convertible": convertible, "remoteCode": bool(code)}
    if role:
        # Only a draft's guesses ask for it, and it is the largest file that an inspection reads.
        facts["vocabulary"] = read_vocabulary(repository, listing)
    log_facts(facts)
    return {"commit": listing.commit, "facts": facts, "files": len(selected) + len(code)}


def inspect_gguf(repository: Repository, source: str, listing: Listing) -> dict[str, Any]:
    """Read the facts of a model that comes as GGUF, from the head of one of its files."""

    def read(file: RemoteFile, start: int, length: int) -> bytes:
        return repository.read_range(listing.commit, file, start, length)

    facts, count = gguf_facts(listing.files, source, listing.license, read)
    log_facts(facts)
    return {"commit": listing.commit, "facts": facts, "files": count}


def log_facts(facts: Mapping[str, Any]) -> None:
    """Say in the log which model it is."""
    LOGGER.info(
        "%s with %d parameters, %s to download, licence %s",
        facts["architecture"],
        facts["parameters"],
        format_bytes(facts["downloadBytes"]),
        facts["license"] or "unknown",
    )


def inspect_texts(repository: Repository, revision: str) -> dict[str, Any]:
    """Resolve the revision of texts to calibrate on; what holds none is refused."""
    listing = repository.list_files(revision)
    selected = select_texts(listing.files)
    size = sum(file.size for file in selected)
    LOGGER.info("%d texts with %s to download", len(selected), format_bytes(size))
    facts = {"weightBytes": 0, "downloadBytes": size, "license": listing.license}
    return {"commit": listing.commit, "facts": facts, "files": len(selected)}


def inspect_companion(repository: Repository, revision: str, role: str) -> dict[str, Any]:
    """Resolve the revision of heads or of an adapter and read their facts; what is no such thing is refused.

    Args:
        repository: that holds them.
        revision: branch, tag or commit.
        role: one of ``contract.ROLES``: mlp, medusa, lora or merge.
    """
    listing = repository.list_files(revision)
    adapter = role in ADAPTERS
    selected = (select_adapter if adapter else select_heads)(listing.files)
    by_path = {file.path: file for file in selected}
    name = ADAPTER_CONFIG if adapter else CONFIG
    config = read_json_file(repository, listing.commit, by_path[name])
    weights = [file for file in selected if holds_tensors(file.path)]
    headers = read_headers(repository, listing.commit, weights)
    merging = role == "merge"
    facts = adapter_facts(config, headers[0], merging=merging) if adapter else heads_facts(config, role)
    facts |= {
        "weightBytes": sum(file.size for file in weights),
        "downloadBytes": sum(file.size for file in selected),
        "license": listing.license,
    }
    LOGGER.info("%s with %s to download", role, format_bytes(facts["downloadBytes"]))
    return {"commit": listing.commit, "facts": facts, "files": len(selected)}


def read_vocabulary(repository: Repository, listing: Listing) -> str:
    """Return the hash of the tokens; empty when the repository doesn't say them in a form that is known."""
    file = next((one for one in listing.files if one.path == FILE), None)
    if file is None or not 0 < file.size <= LIMIT:
        return ""
    return vocabulary(repository.read_range(listing.commit, file, 0, file.size))


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
