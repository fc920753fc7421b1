"""Headers of a tar are read into memory: as many bytes as names need, whatever they say themselves."""

from __future__ import annotations

import tarfile

import pytest

from slipway_runtime.errors import DataError
from slipway_runtime.tar_index import LONG_LIMIT, LONG_TOTAL, read_members
from tests.support.registry_models import tar_of


def header(kind: bytes, size: int) -> bytes:
    entry = tarfile.TarInfo("././@x")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [LONG_LIMIT + 1, 1 << 50])
def test_a_long_header_is_refused_before_it_is_read(kind: bytes, size: int) -> None:
    head, asked = header(kind, size), [0]

    def read(start: int, length: int) -> bytes:
        asked.append(length)
        return (head + bytes(length))[start : start + length] if start < len(head) else bytes(length)

    with pytest.raises(DataError, match="header of more than 1 MiB"):
        read_members("d", size + 2048, read, "r/n")
    assert max(asked) <= LONG_LIMIT


def test_many_of_them_are_too_many_as_well() -> None:
    one = header(tarfile.GNUTYPE_LONGNAME, LONG_LIMIT) + b"a" * (LONG_LIMIT - 1) + b"\0"
    entry = tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT)
    content = (one + entry) * (LONG_TOTAL // LONG_LIMIT + 1)
    with pytest.raises(DataError, match="headers of more than 16 MiB"):
        read_members("d", len(content), lambda start, length: content[start : start + length], "r/n")


def test_a_name_of_ordinary_length_is_read() -> None:
    name = f"models/{'n' * 300}.json"
    content = tar_of({name: b"{}"}, tarfile.PAX_FORMAT)
    found = read_members("d", len(content), lambda start, length: content[start : start + length], "r/n")
    assert [one.path for one in found] == [name]
