"""Buckets of S3 or of any server that speaks its API. Found by ``sources``.

A folder of a bucket has no commits. Its pin is ``pinning.listing_pin`` over each object's sha256 where S3 has
one, else its version, else its ETag; every read names version and ETag, so that what was replaced meanwhile
is refused. An ETag is no digest (S3 says so itself, and other servers make it of anything): it is compared,
and never computed. The CRC-64 that S3 has of every object since 2024 is computed over what came.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from slipway_runtime.errors import DataError, NotFoundError, RequestError
from slipway_runtime.files import CHUNK
from slipway_runtime.job import Job
from slipway_runtime.log import plain
from slipway_runtime.pinning import listing_pin, require_pin
from slipway_runtime.resuming import Stream, bring
from slipway_runtime.s3_client import S3Client, read_xml
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.web import begins, cuts, translated

EXAMPLE = "s3://models/qwen2.5-7b-instruct"
ADDRESS = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])(?:/(.*))?")
PARALLEL = 8
"""Requests at a time while the objects' versions and checksums are asked for."""
OBJECTS = 10_000
"""More objects than any model has: the address names a folder of models, or a whole bucket."""
SHA256_BYTES, CRC64_BYTES = 32, 8


@dataclass(frozen=True)
class Object:
    """One object as S3 named it: a read that names ``etag`` and ``version`` gets these bytes or an error.

    Attributes:
        file: what the stages know of it.
        key: in the bucket.
        etag: with its quotes; empty when the server names none.
        version: empty in buckets without versions.
        crc64: CRC-64/NVME of the whole, eight bytes; empty when the server has none.
    """

    file: RemoteFile
    key: str
    etag: str
    version: str
    crc64: bytes

    @property
    def mark(self) -> str:
        """The strongest that is known of the content, for the pin."""
        if self.file.sha256:
            return f"sha256:{self.file.sha256}"
        return f"version:{self.version}" if self.version else f"etag:{self.etag}"


def connect(job: Job) -> BucketFolder:
    """Return a connection to ``s3://BUCKET/FOLDER``; RequestError when the URI is malformed."""
    match = ADDRESS.fullmatch(job.source)
    folder = (match[2] or "").removesuffix("/") if match else ""
    if match is None or (folder and not _is_plain(folder)):
        raise RequestError(
            "UnknownScheme",
            f"{plain(job.source)!r} is no address of the form s3://BUCKET/FOLDER, as in {EXAMPLE}",
        )
    return BucketFolder(S3Client(job, match[1], job.source), folder)


class BucketFolder:
    """What lies in a bucket under one prefix, or the one object of that name."""

    def __init__(self, client: S3Client, folder: str) -> None:
        self.client = client
        self.folder = folder
        self.endpoint = client.endpoint
        self.objects: dict[str, Object] = {}

    def list_files(self, revision: str) -> Listing:
        """List the objects, ask for version and checksum of each, and hold their pin against a pin."""
        with self._translated("the list of objects"):
            keys = self._keys()
            with ThreadPoolExecutor(PARALLEL) as pool:
                found = list(pool.map(self._head, keys.items()))
        self.objects = {one.file.path: one for one in found}
        pin = listing_pin((one.file.path, one.file.size, one.mark) for one in found)
        require_pin(self.client.place, revision, pin)
        return Listing(pin, tuple(one.file for one in found))

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """Read part of an object, unless it was replaced since it was listed."""
        del commit  # the objects that were listed are those of the pin
        end = min(start + length, file.size)
        if start >= end:
            return b""
        with self._translated(file.path), self._opened(file, start, end) as (first, blocks):
            content = b"".join(blocks)
        return content[start - first : end - first]

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """Append what is missing to ``target``; cut connections are taken up again.

        Raises:
            DataError: DigestMismatch, what came has another CRC than S3 names; nothing of it is kept.
        """
        del commit
        with self._translated(file.path):
            bring(file, target, lambda start: self._stream(file, start), cuts())
        expected = self.objects[file.path].crc64
        if expected and not file.sha256 and crc64(target) != expected:
            target.unlink()
            raise DataError(
                "DigestMismatch",
                f"{file.path} came with another CRC than {self.client.place} names: something on the way "
                "changes it, or the server's disk did",
            )

    @contextmanager
    def _stream(self, file: RemoteFile, start: int) -> Iterator[Stream]:
        with self._opened(file, start, file.size) as (first, blocks):
            yield Stream(first, blocks)

    @contextmanager
    def _opened(self, file: RemoteFile, start: int, end: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Open bytes of an object; gives where they begin, which is 0 from servers without ranges."""
        one = self.objects[file.path]
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if one.etag:
            headers["If-Match"] = one.etag
        query = {"versionId": one.version} if one.version else {}
        with self.client.asked(file.path, one.key, query, headers) as response:
            yield begins(response, start), response.iter_raw()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        with translated(self.endpoint, f"{self.client.place} ({what})"):
            yield

    def _keys(self) -> dict[str, str]:
        """Return the keys by the paths that they have in the folder.

        Raises:
            NotFoundError: nothing lies there.
            RequestError: TooManyFiles.
            DataError: UnsafePath, a key would lead out of the folder that it is written to.
        """
        start = f"{self.folder}/" if self.folder else ""
        found: dict[str, str] = {}
        for number, key in enumerate(self._listed(start)):
            if not key.endswith("/"):  # a console's stand-in for a folder
                found[key.removeprefix(start)] = key
            if number >= OBJECTS:
                raise RequestError(
                    "TooManyFiles",
                    f"{self.client.place} has more than {OBJECTS} objects: name the folder of one model",
                )
        found = found or self._alone()
        for path in found:
            if not _is_plain(path):
                raise DataError(
                    "UnsafePath", f"{self.client.place} has an object {path!r}, which leads out of its folder"
                )
        return found

    def _alone(self) -> dict[str, str]:
        """Return the object whose key is the folder's name: S3 lists it before all that begin with it."""
        if self.folder and next(self._listed(self.folder), "") == self.folder:
            return {self.folder.rsplit("/", 1)[-1]: self.folder}
        raise NotFoundError(
            "RepositoryNotFound", f"{self.client.place} holds no objects: check bucket and folder"
        )

    def _listed(self, prefix: str) -> Iterator[str]:
        """Yield all keys that begin so, a thousand an answer."""
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        for _ in range(OBJECTS):  # no server's mistake keeps us here
            with self.client.asked("the list of objects", query=query) as response:
                root = read_xml(response)
            decode = unquote if root.findtext("{*}EncodingType") == "url" else str
            yield from (decode(key.text or "") for key in root.iterfind("{*}Contents/{*}Key"))
            token = root.findtext("{*}NextContinuationToken", "")
            if not token or root.findtext("{*}IsTruncated") != "true":
                return
            query["continuation-token"] = token

    def _head(self, entry: tuple[str, str]) -> Object:
        path, key = entry
        asks = {"x-amz-checksum-mode": "ENABLED"}
        with self.client.asked(path, key, headers=asks, method="HEAD") as response:
            headers = response.headers
        version = headers.get("x-amz-version-id", "")
        return Object(
            file=RemoteFile(
                path, int(headers["Content-Length"]), sha256=_checksum(headers, "sha256", SHA256_BYTES).hex()
            ),
            key=key,
            etag=headers.get("ETag", ""),
            version="" if version == "null" else version,
            crc64=_checksum(headers, "crc64nvme", CRC64_BYTES),
        )


def crc64(path: Path) -> bytes:
    """Return the file's CRC-64/NVME as S3 writes it, most significant byte first."""
    from awscrt.checksums import crc64nvme

    value = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(CHUNK):
            value = crc64nvme(block, value)
    return value.to_bytes(CRC64_BYTES, "big")


def _checksum(headers: Mapping[str, str], name: str, size: int) -> bytes:
    """Return a checksum of the whole object; empty without one, or when it is one over its parts' own."""
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return b""
    try:  # of parts it ends with their number, -7, as well
        found = base64.b64decode(headers.get(f"x-amz-checksum-{name}", ""), validate=True)
    except binascii.Error:
        return b""
    return found if len(found) == size else b""


def _is_plain(path: str) -> bool:
    """Whether no part of a path is empty or climbs: clients and servers would resolve it in two ways."""
    return not any(part in {"", ".", ".."} for part in path.split("/"))
