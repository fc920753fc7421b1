"""Where models come from: one file a URI scheme, found by being in this folder. For inspection and fetch.

The file's name is the scheme. A source module has ``EXAMPLE`` and ``connect(job) -> Repository``; its heavy
imports sit inside functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, cast, runtime_checkable

from slipway_runtime.allowed_hosts import require_host
from slipway_runtime.certificates import trust
from slipway_runtime.errors import RequestError
from slipway_runtime.job import Job
from slipway_runtime.log import plain

LICENSE_LIMIT = 128
"""Characters of a licence id or of several; a result has little room."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository at a commit; at most one of the two digests is known.

    Attributes:
        path: inside the repository, with forward slashes; where it is published, too.
        size: bytes.
        sha256: of the content, for large files; empty when unknown.
        git_id: git's blob id (sha1 over a header and the content), for small files; empty when unknown.
        sealed: its digest is one over several files together: the repository is ``Sealed``.
    """

    path: str
    size: int
    sha256: str = ""
    git_id: str = ""
    sealed: bool = False


@dataclass(frozen=True)
class Listing:
    """A repository at one commit: everything it holds, and its licence id (empty when unknown)."""

    commit: str
    files: tuple[RemoteFile, ...]
    license: str = ""

    def __post_init__(self) -> None:
        """Cut a licence that is no id: a card or an annotation may hold the whole text."""
        object.__setattr__(self, "license", self.license[:LICENSE_LIMIT])


class Repository(Protocol):
    """A connection to one repository. Its methods raise StageErrors only, and OSError for the local disk.

    Attributes:
        endpoint: URL of the server that is asked, empty where none is; those that it sends us on to are
            checked by the source.
    """

    endpoint: str

    def list_files(self, revision: str) -> Listing:
        """Resolve a branch, tag or commit and list what it holds."""

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes of a file, from ``start`` on."""

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """Bring the file to ``target``, going on behind the bytes that are already there."""


@runtime_checkable
class Sealed(Protocol):
    """A repository of which some digests hold for several files together."""

    def verify(self, brought: Mapping[str, Path]) -> None:
        """Hold sealed files against those digests; DataError when they differ.

        ``brought`` says by the paths of ``list_files`` where they lie.
        """


def verify(repository: Repository, brought: Iterable[tuple[RemoteFile, Path]]) -> None:
    """Have a repository verify what it sealed among the files that were brought, and where they lie.

    Raises:
        DataError: as ``Sealed.verify``.
        TypeError: nobody can, which no source is allowed to be.
    """
    sealed = {file.path: path for file, path in brought if file.sealed}
    if not sealed:
        return
    if not isinstance(repository, Sealed):
        raise TypeError(f"{type(repository).__name__} lists {min(sealed)} as sealed and verifies nothing")
    repository.verify(sealed)


class Source(Protocol):
    """What a module of this folder offers."""

    EXAMPLE: str

    def connect(self, job: Job) -> Repository:
        """Check the URI and return a connection; no request is made yet."""


SCHEMES: tuple[str, ...] = tuple(sorted(module.name for module in iter_modules(__path__)))
"""The known schemes; the operator reads this, so no source is imported for it."""


def load(scheme: str) -> Source:
    """Return the source of a known scheme."""
    return cast("Source", import_module(f"{__name__}.{scheme}"))


def connect(job: Job) -> Repository:
    """Return a connection to the repository that the job names.

    Raises:
        RequestError: UnknownScheme, or HostNotAllowed by ``allowed_hosts``.
    """
    uri = job.source or job.require("SLIPWAY_SOURCE")
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{known}:// ({load(known).EXAMPLE})" for known in SCHEMES)
        raise RequestError("UnknownScheme", f"no source for {plain(uri)!r}; known are: {known}")
    trust(job.environment)
    repository = load(scheme).connect(job)
    if repository.endpoint:
        require_host(job.environment, repository.endpoint)
    return repository
