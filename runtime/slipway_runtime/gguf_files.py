"""Which GGUF files of a repository are one model, at which levels, and their names once published. Pure.

Called by inspection, fetch and the operator's planner, which chooses among the levels. Repositories hold
levels as ``NAME-Q4_K_M.gguf`` or in a folder of the level's name, large ones in parts
(``NAME-Q8_0-00001-of-00003.gguf``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from slipway_runtime.errors import DataError
from slipway_runtime.weights import is_adapter, is_weights, require_safe

if TYPE_CHECKING:
    from slipway_runtime.sources import RemoteFile

ENDING: Final = ".gguf"
GGUF: Final = "gguf"
"""Name of the method, and of the quantisation in the facts, of weights that come so."""
PART: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})")
LEVEL: Final = re.compile(
    r"(?<![A-Za-z0-9])((?:UD[-_])?(?:I?Q\d(?:_[A-Z0-9]{1,3})*|TQ\d_0|MXFP4(?:_MOE)?|NVFP4|B?F16|FP16|F(?:P)?32))"
    r"(?![A-Za-z0-9_])",
    re.IGNORECASE,
)
"""Levels as names have them: llama.cpp's own, and mixtures of others (``Q4_K_L``, ``UD-Q4_K_XL``)."""
OTHER: Final = re.compile(r"mmproj|imatrix", re.IGNORECASE)
"""In the names of files that are no language model: what sees or hears, and statistics for quantising."""
SAME: Final = {"FP16": "F16", "FP32": "F32"}
LEVELS_LIMIT: Final = 64
ENCODED_LIMIT: Final = 1200
"""Characters of all levels in the facts: beside the rest of them, a result has 2 KiB."""
ENCODED: Final = re.compile(r"([A-Z0-9][A-Z0-9_.-]{0,31}):(\d{1,15})(?:/(\d{1,3}))?")


@dataclass(frozen=True)
class Stored:
    """A level that a repository has.

    Attributes:
        level: as levels are written, ``Q4_K_M``; empty where no name says it.
        bytes: of its files.
        parts: how many files they are.
    """

    level: str
    bytes: int
    parts: int = 1


@dataclass(frozen=True)
class Group:
    """The files of one model at one level, in order."""

    model: str
    level: str
    files: tuple[RemoteFile, ...]

    @property
    def stored(self) -> Stored:
        """As the facts have it."""
        return Stored(self.level, sum(file.size for file in self.files), len(self.files))


def holds_gguf(files: Iterable[RemoteFile]) -> bool:
    """Whether a repository's model is GGUF: it has such files, and no safetensors of model or adapter."""
    paths = [file.path for file in files]
    return any(map(is_model, paths)) and not any(map(is_weights, paths)) and not is_adapter(paths)


def is_model(path: str) -> bool:
    """Whether a file is a language model in GGUF, or a part of one, by its name."""
    return path.endswith(ENDING) and not OTHER.search(path.rsplit("/", 1)[-1])


def model_file(parts: int, number: int = 1) -> str:
    """Name of a published file: llama.cpp finds the parts of a model by the name of the first."""
    return f"model-{number:05}-of-{parts:05}{ENDING}" if parts > 1 else f"model{ENDING}"


def levels_of(files: Iterable[RemoteFile], source: str) -> list[Group]:
    """Return the levels of the one model that a repository holds, the smallest first, at most 64.

    Args:
        files: of the repository.
        source: its URI: of several models the one of the repository's name is meant.

    Raises:
        DataError: SeveralModels; BrokenWeights, parts are missing; UnsafePath.
    """
    groups = [*_groups(files)]
    named = [group for group in groups if group.level] or groups
    own = _own(named, source)
    best: dict[str, Group] = {}
    for group in sorted(own, key=lambda one: (len(one.files), len(one.files[0].path), one.files[0].path)):
        best.setdefault(group.level, group)
    return sorted(best.values(), key=lambda one: (one.stored.bytes, one.level))[:LEVELS_LIMIT]


def choose(groups: Sequence[Group], level: str) -> Group:
    """Return the group of a level; of a single one without a name every level is.

    Raises:
        DataError: UnknownLevel, with the levels that there are.
    """
    found = next((group for group in groups if group.level == level), None)
    if found is None and len(groups) == 1 and not groups[0].level:
        found = groups[0]
    if found is None:
        there = ", ".join(group.level for group in groups)
        raise DataError("UnknownLevel", f"the repository has no GGUF file of level {level}; it has {there}")
    return found


def published(group: Group) -> list[RemoteFile]:
    """Return the group's files under the names that they are published by."""
    count = len(group.files)
    return [replace(file, path=model_file(count, number)) for number, file in enumerate(group.files, start=1)]


def encode(levels: Iterable[Stored]) -> str:
    """Return levels as the facts carry them, ``Q4_K_M:4920734272,Q8_0:8540770944/2``.

    The largest ones are left out where there are more than a result has room for.
    """
    text = ""
    for one in levels:
        word = f"{one.level}:{one.bytes}" + (f"/{one.parts}" if one.parts > 1 else "")
        longer = f"{text},{word}" if text else word
        if len(longer) > ENCODED_LIMIT:
            break
        text = longer
    return text


def decode(text: str) -> tuple[Stored, ...]:
    """Return what ``encode`` was given; ValueError for anything else."""
    found = []
    for word in text.split(",") if text else ():
        match = ENCODED.fullmatch(word)
        if match is None:
            raise ValueError(f"{word[:64]!r} is no level with its size")
        found.append(Stored(match[1], int(match[2]), int(match[3] or 1)))
    return tuple(found)


def _groups(files: Iterable[RemoteFile]) -> Iterable[Group]:
    """Files that belong together; those with parts missing are left out, unless nothing else is there."""
    parts: dict[tuple[str, int], dict[int, RemoteFile]] = {}
    for file in files:
        require_safe(file.path)
        if is_model(file.path):
            stem = file.path.removesuffix(ENDING)
            match = PART.fullmatch(stem)
            key = (match[1], int(match[3])) if match else (stem, 0)
            parts.setdefault(key, {})[int(match[2]) if match else 1] = file
    whole = {key: found for key, found in parts.items() if [*sorted(found)] == [*range(1, (key[1] or 1) + 1)]}
    if parts and not whole:
        stem, count = min(parts)
        raise DataError(
            "BrokenWeights", f"{stem}-*-of-{count:05}{ENDING}: only {len(parts[stem, count])} parts are there"
        )
    for (stem, _), found in whole.items():
        yield Group(*_named(stem), tuple(found[number] for number in sorted(found)))


def _named(stem: str) -> tuple[str, str]:
    """Model and level of a path without its ending; the folder says the level where the name doesn't."""
    *folders, name = stem.split("/")
    for place in (name, *reversed(folders)):
        if matches := [*LEVEL.finditer(place)]:
            level = matches[-1][1].upper().replace("UD_", "UD-")
            rest = place[: matches[-1].start()] + place[matches[-1].end() :] if place == name else name
            return _plain(rest), SAME.get(level, level)
    return _plain(name), ""


def _own(groups: Sequence[Group], source: str) -> list[Group]:
    """Those of the repository's own model, where files of several lie beside each other."""
    models = sorted({group.model for group in groups})
    if len(models) < 2:  # noqa: PLR2004 - nothing to choose
        return [*groups]
    name = _plain(source.rstrip("/").rsplit("/", 1)[-1]).removesuffix("-gguf")
    if name not in models:
        raise DataError(
            "SeveralModels",
            f"the repository holds GGUF files of {len(models)} models ({', '.join(models[:4])}), and none "
            "has the repository's name: name a repository with the one alone",
        )
    return [group for group in groups if group.model == name]


def _plain(name: str) -> str:
    """A name as names are compared: lower case, dashes between words."""
    return re.sub(r"[-._ ]+", "-", name.lower()).strip("-")
