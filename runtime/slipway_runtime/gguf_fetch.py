"""One level of a repository's GGUF files under the names that engines look for. Called by fetch.

They are published as they are, byte for byte: ``model.gguf``, or the parts of a split model by llama.cpp's
naming of them, with the chat template beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from slipway_runtime import files
from slipway_runtime.gguf_facts import check_parts, header_facts
from slipway_runtime.gguf_file import file_cursor
from slipway_runtime.gguf_files import choose, levels_of, published
from slipway_runtime.gguf_header import read_header
from slipway_runtime.log import LOGGER
from slipway_runtime.publish import write_chat_template
from slipway_runtime.sources import Listing, RemoteFile, Repository, verify


class Level:
    """A repository as if it held the files of one level alone, under their published names."""

    def __init__(self, repository: Repository, source: str, level: str) -> None:
        self._repository, self._source, self._level = repository, source, level
        self.endpoint = repository.endpoint
        self._remote: dict[str, RemoteFile] = {}

    def list_files(self, revision: str) -> Listing:
        """The listing with these files alone; raises as ``gguf_files.levels_of`` and ``choose``."""
        listing = self._repository.list_files(revision)
        group = choose(levels_of(listing.files, self._source), self._level)
        named = published(group)
        self._remote = {to.path: file for to, file in zip(named, group.files, strict=True)}
        for name, file in self._remote.items():
            LOGGER.info("%s becomes %s", file.path, name)
        return Listing(listing.commit, tuple(named), listing.license)

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """As of ``Repository``."""
        return self._repository.read_range(commit, self._remote[file.path], start, length)

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """As of ``Repository``."""
        self._repository.download(commit, self._remote[file.path], target)

    def verify(self, brought: Mapping[str, Path]) -> None:
        """As of ``Sealed``: the repository knows the files by their own names."""
        own = [(self._remote[name], path) for name, path in brought.items()]
        verify(self._repository, own)


def finish(folder: Path, selected: Sequence[RemoteFile]) -> list[files.FileEntry]:
    """Check the files that came, and write the chat template that the first carries.

    Returns:
        Entries of what was written.

    Raises:
        DataError: as ``gguf_header.read_header`` and ``gguf_facts.header_facts``: the inspection may have
            read another level.
    """
    names = [file.path for file in selected]
    headers = [read_header(file_cursor(folder / name)) for name in names]
    check_parts(names, headers)
    header_facts(headers)
    return write_chat_template(folder / names[0], folder)
