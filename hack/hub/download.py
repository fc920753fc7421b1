"""Streams one file of the small hub, whole or a byte range, as slow or as broken as the faults in force say.

Called by server.py only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hack.hub.faults import Faults
    from hack.hub.repository import HubFile

CHUNK = 256 * 1024


async def send_file(
    request: web.Request,
    file: HubFile,
    headers: Mapping[str, str],
    faults: Faults,
    count: Callable[[int], None],
) -> web.StreamResponse:
    """Answer a GET or HEAD of `file`; `count` is told every number of bytes that was written.

    416 for a range that starts at or after the end, as the hub's storage answers.
    """
    start, stop, partial = 0, file.size, False
    if "Range" in request.headers:
        wanted = request.http_range
        start, stop, _ = slice(wanted.start, wanted.stop).indices(file.size)
        partial = True
        if start >= file.size:
            whole = {"Content-Range": f"bytes */{file.size}"}
            return web.Response(status=web.HTTPRequestRangeNotSatisfiable.status_code, headers=whole)
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_length = stop - start
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = f'"{file.etag}"'
    if partial:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    await response.prepare(request)
    if request.method != "HEAD":
        await _copy(request, response, file, slice(start, stop), faults, count)
    return response


async def _cut(request: web.Request) -> None:
    """End the connection, once the system has taken what was written: aborting drops what waits here."""
    while (transport := request.transport) is not None and not transport.is_closing():
        if transport.get_write_buffer_size() == 0:
            transport.abort()
            return
        await asyncio.sleep(0.005)


async def _copy(
    request: web.Request,
    response: web.StreamResponse,
    file: HubFile,
    span: slice,
    faults: Faults,
    count: Callable[[int], None],
) -> None:
    cut = faults.take_cut()
    left = span.stop - span.start
    sent = 0
    with file.local.open("rb") as source:
        source.seek(span.start)
        while left:
            limit = CHUNK if faults.bytes_per_second is None else max(1, faults.bytes_per_second // 10)
            if cut is not None:
                limit = min(limit, cut - sent)
            data = source.read(min(left, limit)) if limit else b""
            if not data:  # the cut is reached, or the file shrank meanwhile
                await _cut(request)
                return
            await response.write(data)
            count(len(data))
            left -= len(data)
            sent += len(data)
            if faults.bytes_per_second is not None:
                await asyncio.sleep(len(data) / faults.bytes_per_second)
    await response.write_eof()
