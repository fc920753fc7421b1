"""Bytes from one open file to another, by the cheapest way that both file systems know. For sources.

A clone or a copy by the server itself (copy_file_range), by the kernel (sendfile), else through this process.
"""

from __future__ import annotations

import errno
import os

BLOCK = 8 << 20
UNABLE = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY})
"""What the kernel answers where a way is not open; any other error is the disk's."""


def copy_bytes(source: int, target: int, offset: int, count: int) -> int:
    """Copy up to ``count`` bytes at ``offset`` of both files; return how many, 0 at the source's end.

    Raises:
        OSError: of the disk.
    """
    for copy in (_by_range, _by_sendfile):
        try:
            copied = copy(source, target, offset, count)
        except OSError as error:
            if error.errno not in UNABLE:
                raise
            continue
        if copied:
            return copied
    # Some file systems say 0 of what they can't do: only a read knows the end for sure.
    return _by_hand(source, target, offset, count)


def _by_range(source: int, target: int, offset: int, count: int) -> int:
    return os.copy_file_range(source, target, count, offset, offset)


def _by_sendfile(source: int, target: int, offset: int, count: int) -> int:
    os.lseek(target, offset, os.SEEK_SET)
    return os.sendfile(target, source, offset, count)


def _by_hand(source: int, target: int, offset: int, count: int) -> int:
    block = memoryview(os.pread(source, min(count, BLOCK), offset))
    done = 0
    while done < len(block):
        done += os.pwrite(target, block[done:], offset + done)
    return done
