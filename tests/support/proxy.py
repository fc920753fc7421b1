"""A TCP proxy that can stall, cut, or leave connections half open.

Stands between a client and an API server that then seems to hang, to die or to be out of reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Proxy:
    """Forwards bytes of 127.0.0.1; ``stall`` keeps connections open and silent, ``cut`` ends them."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def stall(self) -> None:
        """From now on nothing passes, new connections included."""
        self._flows.clear()

    def go_on(self) -> None:
        """Everything held back passes."""
        self._flows.set()

    def cut(self) -> None:
        """End all connections; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    def leave_half_open(self) -> None:
        """The connections of now stay open and silent for good, as after a lost route; new ones work."""
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pipe(source, sink, self._flows))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pipe(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await flows.wait()
                sink.write(data)
                await sink.drain()
        self._writers.discard(sink)
        sink.transport.abort()


@asynccontextmanager
async def proxied(kubeconfig: Path | str, directory: Path) -> AsyncIterator[tuple[Proxy, Path]]:
    """A proxy before the API server of ``kubeconfig``, and a kubeconfig that goes through it."""
    config = yaml.safe_load(await asyncio.to_thread(Path(kubeconfig).read_text, "utf-8"))
    target = urlsplit(config["clusters"][0]["cluster"]["server"])
    proxy = Proxy(target.hostname or "", target.port or 443)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    through = directory / "proxied.kubeconfig"
    await asyncio.to_thread(through.write_text, yaml.safe_dump(config))
    try:
        yield proxy, through
    finally:
        server.close()
        proxy.go_on()
        proxy.cut()
        for task in tuple(proxy._tasks):
            task.cancel()
        await asyncio.gather(*proxy._tasks, return_exceptions=True)
