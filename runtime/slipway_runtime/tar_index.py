"""What lies where in an uncompressed tar that is read by ranges: its headers alone. For the source oci."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from slipway_runtime.oci_layout import Member, unsupported
from slipway_runtime.weights import require_safe

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WINDOW = 1 << 16
"""Bytes of a request: small files come with the header before them, weights are jumped over."""
READS_LIMIT = 2000
"""Requests for one layer at most: models have fewer files, and a whole operating system more."""
LONG_LIMIT, LONG_TOTAL = 1 << 20, 16 << 20
"""Bytes of one extended header, and of all of a layer: they hold a name, and tarfile keeps them in memory."""
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
"""Names of the image specification for what a layer removes."""


class Remote(io.RawIOBase):
    """A blob as a file that can be sought; every read is a request."""

    def __init__(self, size: int, read: Callable[[int, int], bytes], name: str) -> None:
        super().__init__()
        self._size = size
        self._read = read
        self._name = name
        self._at = 0
        self._reads = 0

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be sought: yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; as in the base class."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the byte that is read next."""
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer by one request; 0 at the end."""
        view = memoryview(buffer)
        length = max(0, min(len(view), self._size - self._at))
        if not length:
            return 0
        self._reads += 1
        if self._reads > READS_LIMIT:
            raise unsupported(self._name, "a layer has more files than models have, as operating systems do")
        found = self._read(self._at, length)
        view[: len(found)] = found
        self._at += len(found)
        return len(found)


class Headers(io.BufferedReader):
    """What tarfile reads of it: headers, of which one may say itself how long it is."""

    def __init__(self, remote: Remote, name: str) -> None:
        super().__init__(remote, WINDOW)
        self._name = name
        self._long = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As in the base class; DataError for more than names need, before room is made for it."""
        if size is None or size < 0 or size > LONG_LIMIT:
            raise unsupported(self._name, f"a tar layer has a header of more than {LONG_LIMIT >> 20} MiB")
        self._long += size if size > tarfile.BLOCKSIZE else 0
        if self._long > LONG_TOTAL:
            raise unsupported(self._name, f"a tar layer has headers of more than {LONG_TOTAL >> 20} MiB")
        return super().read(size)


def read_members(digest: str, size: int, read: Callable[[int, int], bytes], name: str) -> list[Member]:
    """Return the regular files of a tar of ``size`` bytes; ``read(start, length)`` gives its bytes.

    Links are left out: what they lead to may be in another layer, or nowhere.

    Raises:
        DataError: UnsafePath for a name that leads out, UnsupportedLayout for what is no tar.
    """
    members = []
    try:
        with (
            Headers(Remote(size, read, name), name) as file,
            tarfile.open(fileobj=file, mode="r:") as tar,
        ):
            for entry in tar:
                if entry.isreg() and not entry.issparse():
                    require_safe(entry.name)
                    members.append(Member(entry.name, entry.size, digest, entry.offset_data))
    except tarfile.TarError as error:
        raise unsupported(name, f"layer {digest} is no tar file: {error}") from error
    return members


def overlay(layers: list[list[Member]]) -> list[Member]:
    """Return the files of an image: later layers replace and remove what earlier ones hold."""
    known: dict[PurePosixPath, Member] = {}
    for members in layers:
        named = {PurePosixPath(member.path): member for member in members}
        gone = {_removed(path) for path in named if path.name.startswith(WHITEOUT)}
        known = {path: one for path, one in known.items() if gone.isdisjoint((path, *path.parents))}
        known |= {path: one for path, one in named.items() if not path.name.startswith(WHITEOUT)}
    return list(known.values())


def _removed(whiteout: PurePosixPath) -> PurePosixPath:
    """Return the file or folder that a whiteout removes; an opaque one empties its own folder."""
    if whiteout.name == OPAQUE:
        return whiteout.parent
    return whiteout.parent / whiteout.name.removeprefix(WHITEOUT)
