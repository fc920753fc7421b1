"""A folder of a claim in the model's namespace, mounted read-only at ``contract.ORIGIN``; for ``sources``.

Nothing of it leaves the folder: neither by a link nor by a name, nor by a file that is swapped meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway_runtime import contract, files, model_card
from slipway_runtime.copying import BLOCK, copy_bytes
from slipway_runtime.errors import DataError, DeniedError, NotFoundError, RequestError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER, plain
from slipway_runtime.pinning import listing_pin, require_pin
from slipway_runtime.sources import Listing, RemoteFile

EXAMPLE = "pvc://models/qwen/Qwen2.5-7B-Instruct"
ADDRESS = re.compile(r"pvc://([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)((?:/[\w@+=,-][\w.@+=,-]*)*)/?")
"""A name that begins with a dot is no part of it: neither ``..`` nor what was hidden on purpose."""
SMALL = 1 << 20
"""Bytes up to which a file is pinned by its content; larger ones by size and time of change."""
RESERVED = frozenset({"lost+found"})
"""What file systems keep for themselves, closed to all but root."""


def connect(job: Job) -> ClaimFolder:
    """Return the folder of ``pvc://CLAIM/PATH``; RequestError when the address is malformed."""
    match = ADDRESS.fullmatch(job.source)
    if match is None:
        raise RequestError(
            "UnknownScheme",
            f"{plain(job.source)!r} is no address of the form pvc://CLAIM/PATH, as in {EXAMPLE}",
        )
    root = Path(job.environment.get("SLIPWAY_ORIGIN") or contract.ORIGIN)
    return ClaimFolder(job.source, match[1], root, root / match[2].strip("/"))


class ClaimFolder:
    """One folder of one claim. Links inside it may point at its own files, and at nothing else."""

    endpoint = ""

    def __init__(self, place: str, claim: str, root: Path, folder: Path) -> None:
        self.place = place
        self.claim = claim
        self.root = root
        self.folder = folder
        self._seen: dict[str, tuple[int, int]] = {}

    def list_files(self, revision: str) -> Listing:
        """List the folder; a revision that is a pin has to be that of what is there."""
        home = self._home()
        found, marks = [], []
        for path in self._walk(home):
            name = path.relative_to(home).as_posix()
            with self._opened(path) as handle:
                about = os.fstat(handle)
                self._seen[name] = (about.st_size, about.st_mtime_ns)
                sha256 = _sha256(handle) if about.st_size <= SMALL else ""
            found.append(RemoteFile(name, about.st_size, sha256))
            marks.append((name, about.st_size, sha256 or str(about.st_mtime_ns)))
        pin = listing_pin(marks)
        require_pin(self.place, revision, pin)
        return Listing(pin, tuple(found), self._license(home))

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:  # noqa: ARG002
        """Return part of a file."""
        with self._opened(self._home() / file.path) as handle:
            return os.pread(handle, length, start)

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:  # noqa: ARG002
        """Copy what is missing, and compare both by sha256: a resumed copy that differs is made anew."""
        have = min(file.size, target.stat().st_size) if target.exists() else 0
        if have:
            LOGGER.info("%s: going on behind %d of %d bytes", file.path, have, file.size)
        with self._opened(self._home() / file.path) as handle:
            for begin in dict.fromkeys((have, 0)):
                expected = self._copy(handle, file, target, begin)
                if files.sha256_of(target) == expected:
                    break
            else:
                raise DataError(
                    "DigestMismatch",
                    f"the copy of {file.path} differs from {self.place}: a disk fails, or something "
                    "writes to the claim meanwhile",
                )
            self._require_unchanged(handle, file)

    def _copy(self, handle: int, file: RemoteFile, target: Path, begin: int) -> str:
        """Copy from a byte on; return the sha256 of the whole source, read once beside it."""
        digest = hashlib.sha256()
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(writer, begin)
            done = 0
            while done < file.size:
                block = os.pread(handle, min(BLOCK, file.size - done), done)
                if not block:
                    raise self._changed(file.path)
                digest.update(block)
                done += len(block)
                while begin < done:
                    copied = copy_bytes(handle, writer, begin, done - begin)
                    if not copied:
                        raise self._changed(file.path)
                    begin += copied
        finally:
            os.close(writer)
        return digest.hexdigest()

    def _require_unchanged(self, handle: int, file: RemoteFile) -> None:
        about = os.fstat(handle)
        if self._seen.get(file.path, (about.st_size, about.st_mtime_ns)) != (
            about.st_size,
            about.st_mtime_ns,
        ):
            raise self._changed(file.path)

    def _changed(self, name: str) -> DataError:
        return DataError(
            "SourceChanged", f"{name} of {self.place} was written to while it was copied: let the writer end"
        )

    def _home(self) -> Path:
        """Return the folder as it really lies, which is inside the claim."""
        home, root = self.folder.resolve(), self.root.resolve()
        if not home.is_relative_to(root):
            raise self._unsafe(self.place, "a link leads out of the claim")
        if not home.is_dir():
            raise NotFoundError(
                "RepositoryNotFound",
                f"claim {self.claim} has no folder {self.place}: check the path inside it",
            )
        return home

    def _walk(self, home: Path) -> Iterator[Path]:
        """Yield every file, in the order of names; links to folders are not followed."""

        def refuse(error: OSError) -> None:
            raise self._denied(str(error.filename)) from error

        for folder, names, inside in os.walk(home, onerror=refuse):
            names[:] = sorted(name for name in names if name not in RESERVED)
            for name in sorted({*inside, *(one for one in names if Path(folder, one).is_symlink())}):
                path = Path(folder, name)
                if not path.resolve().is_relative_to(home):
                    raise self._unsafe(
                        path.relative_to(home).as_posix(), "it is a link that leads out of the folder"
                    )
                if not path.is_dir():
                    yield path

    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        """Open a file for reading, once it is certain what was opened: names may change at any time."""
        name = path.name
        try:
            # Without waiting: a pipe would hang here until somebody writes to it.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError("FileNotFound", f"{self.place} no longer has {name}") from error
        except PermissionError as error:
            raise self._denied(name) from error
        except OSError as error:
            raise self._unsafe(name, f"it can't be opened as a file ({error.strerror})") from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise self._unsafe(name, "it is no regular file")
            if not Path(f"/proc/self/fd/{handle}").resolve().is_relative_to(self._home()):
                raise self._unsafe(name, "it is a link that leads out of the folder")
            yield handle
        finally:
            os.close(handle)

    def _license(self, home: Path) -> str:
        path = home / model_card.README
        if not path.is_file():
            return ""
        with self._opened(path) as handle:
            return model_card.license_id(os.pread(handle, model_card.LIMIT, 0).decode(errors="replace"))

    def _unsafe(self, name: str, why: str) -> DataError:
        return DataError(
            "UnsafePath", f"{name} of claim {self.claim} is refused: {why}. Put plain files into {self.place}"
        )

    def _denied(self, name: str) -> DeniedError:
        return DeniedError(
            "AccessDenied",
            f"{name} of claim {self.claim} can't be read by user {os.getuid()}: make {self.place} readable "
            "for all (chmod -R a+rX)",
        )


def _sha256(handle: int) -> str:
    return hashlib.sha256(os.pread(handle, SMALL, 0)).hexdigest()
