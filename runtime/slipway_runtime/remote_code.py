"""Python that a model brings along, which libraries run to load it. For inspection and fetch.

``auto_map`` of config.json, and of those of tokenizers and processors, names classes:
``{"AutoModel": "modeling_x.XModel"}``; of tokenizers a pair, slow and fast. Only files of the repository
itself are taken, and only when trusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from slipway_runtime.errors import DataError, NotFoundError
from slipway_runtime.weights import CONFIG, require_safe

if TYPE_CHECKING:
    from slipway_runtime.job import Job
    from slipway_runtime.sources import Listing, RemoteFile, Repository

BESIDE = re.compile(r"[^/]+\.json")
"""Root files that are fetched with a model, any of which a library may read; a new one is no surprise."""
DATA = re.compile(r"tokenizer\.json|vocab\.json|.*\.index\.json")
"""Large ones that hold tokens and names of tensors; no library looks for classes there."""
LIMIT = 32 << 20
"""Bytes; the largest known tokenizer_config.json list their added tokens in some megabytes."""
ELSEWHERE = "--"
"""Between another repository and a class of it."""


def select(job: Job, repository: Repository, listing: Listing, config: Mapping[str, Any]) -> list[RemoteFile]:
    """Return the Python files that are fetched beside the weights: none of a model that names none.

    Raises:
        DataError: RemoteCode, the model brings code and is not trusted, or names that of another repository,
            or a configuration is too large to tell.
        NotFoundError: FileNotFound, the repository lacks a module that it names.
    """
    named = {**dict.fromkeys(_classes(config), CONFIG), **_beside(repository, listing)}
    if not named:
        return []
    shown = ", ".join(f"{one} in {where}" for one, where in sorted(named.items())[:3])
    if not job.trusts_code:
        raise DataError(
            "RemoteCode",
            f"the model brings Python of its own (auto_map: {shown}), which would run where it is loaded. "
            "Read it and set spec.model.trustRemoteCode, or choose a model without",
        )
    if foreign := sorted(one for one in named if ELSEWHERE in one):
        raise DataError(
            "RemoteCode",
            f"the model names code of another repository (auto_map: {foreign[0]}), which is pinned by "
            "nobody: choose a model that has its code beside it",
        )
    found = python_files(listing)
    missing = {f"{one.rpartition('.')[0].replace('.', '/')}.py" for one in named} - {
        one.path for one in found
    }
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise NotFoundError("FileNotFound", f"auto_map names {shown}, and the repository has no {names}")
    return found


def python_files(listing: Listing) -> list[RemoteFile]:
    """Return the Python files of a repository: modules import each other, and nothing says which.

    Raises:
        DataError: UnsafePath.
    """
    found = [one for one in listing.files if one.path.endswith(".py")]
    for one in found:
        require_safe(one.path)
    return found


def _beside(repository: Repository, listing: Listing) -> dict[str, str]:
    """Return the classes that files beside config.json name, each with the file."""
    found: dict[str, str] = {}
    for file in listing.files:
        if not BESIDE.fullmatch(file.path) or file.path == CONFIG or DATA.fullmatch(file.path):
            continue
        if file.size <= LIMIT:
            found |= dict.fromkeys(_of_file(repository, listing.commit, file), file.path)
        elif file.path.endswith(CONFIG):  # as all do that transformers reads classes from
            raise DataError(
                "RemoteCode",
                f"{file.path} has {file.size} bytes, too many to look whether it names Python: no known "
                f"model has more than some megabytes there ({LIMIT >> 20} MiB are read)",
            )
    return found


def _of_file(repository: Repository, commit: str, file: RemoteFile) -> Iterator[str]:
    """Names of a file's classes; of processors the parts may be inside, each with its own."""
    if not file.size:
        return
    try:
        config = json.loads(repository.read_range(commit, file, 0, file.size))
    except (ValueError, RecursionError):
        return  # what loads it says so
    if isinstance(config, dict):
        yield from _classes(config)
        for part in config.values():
            if isinstance(part, dict):
                yield from _classes(part)


def _classes(config: Mapping[str, Any]) -> Iterator[str]:
    """Names of classes, ``MODULE.CLASS``; of old tokenizers ``auto_map`` is the pair itself."""
    given = config.get("auto_map")
    for value in given.values() if isinstance(given, dict) else [given]:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield one
