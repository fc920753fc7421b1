"""Serves a small hub with the Hugging Face hub's HTTP API, so that huggingface_hub's own code runs as it is.

Run by hand, by a supervisor and by tests: `python -m hack.hub.server --bind 198.18.0.1:8090 --root DIR`;
without --root it builds and serves the demo's repositories. The admin port serves /healthz, /faults (GET,
PUT, DELETE) and /requests (GET: counts by method and path and the bytes sent; DELETE: the same, and resets).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from dataclasses import asdict, fields
from pathlib import Path

from aiohttp import web

from hack.hub.faults import Faults
from hack.hub.repos import demo_root
from hack.hub.repository import read_repository, repository_names
from hack.hub.routes import Hub


class Listeners:
    """The hub's two sockets: the public one, which a fault may close, and the admin one."""

    def __init__(self, hub: Hub, host: str, port: int, admin_host: str, admin_port: int) -> None:
        """Bind nothing yet."""
        self.hub = hub
        self._public = web.AppRunner(hub.app(), access_log=None, shutdown_timeout=1)
        self._admin = web.AppRunner(self._admin_app(), access_log=None, shutdown_timeout=1)
        self._address = (host, port)
        self._admin_address = (admin_host, admin_port)
        self._site: web.TCPSite | None = None

    async def start(self) -> None:
        """Listen on both; OSError when an address is taken."""
        await self._public.setup()
        await self._admin.setup()
        await web.TCPSite(self._admin, *self._admin_address).start()
        await self._listen()

    async def stop(self) -> None:
        """Close both."""
        await self._public.cleanup()
        await self._admin.cleanup()

    @property
    def ports(self) -> tuple[int, int]:
        """The public and the admin port that are in use; they differ from those asked for when that was 0."""
        return self._address[1], int(self._admin.addresses[0][1])

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._public, *self._address, reuse_address=True)
        await self._site.start()
        self._address = (self._address[0], int(self._public.addresses[0][1]))

    async def apply(self, faults: Faults) -> None:
        """Put faults in force: a hub that is down refuses connections, and listens again on the same port."""
        self.hub.faults = faults
        if faults.down and self._site is not None:
            await self._site.stop()
            self._site = None
            for connection in self._public.server.connections if self._public.server else ():
                if connection.transport is not None:
                    connection.transport.abort()
        elif not faults.down and self._site is None:
            await self._listen()

    def _admin_app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/faults", self._get_faults),
                web.put("/faults", self._put_faults),
                web.delete("/faults", self._put_faults),
                web.get("/requests", self._get_requests),
                web.delete("/requests", self._get_requests),
            ]
        )
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"root": str(self.hub.root)})

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response(asdict(self.hub.faults))

    async def _put_faults(self, request: web.Request) -> web.Response:
        wanted = await request.json() if request.method == "PUT" else {}
        unknown = set(wanted) - {field.name for field in fields(Faults)}
        if unknown:
            return web.json_response({"error": f"unknown faults: {sorted(unknown)}"}, status=400)
        await self.apply(Faults(**wanted))
        return await self._get_faults(request)

    async def _get_requests(self, request: web.Request) -> web.Response:
        body = {"requests": dict(self.hub.requests), "sent_bytes": self.hub.sent_bytes}
        if request.method == "DELETE":
            self.hub.requests.clear()
            self.hub.sent_bytes = 0
        return web.json_response(body)


async def serve(root: Path, bind: str, admin: str) -> None:
    """Serve until SIGTERM or SIGINT; both addresses are HOST:PORT."""
    for name in repository_names(root):  # digests are computed before the first request waits for them
        await asyncio.to_thread(read_repository, root, name)
    host, _, port = bind.rpartition(":")
    admin_host, _, admin_port = admin.rpartition(":")
    listeners = Listeners(Hub(root), host, int(port), admin_host, int(admin_port))
    await listeners.start()
    print(f"hub: serving {root} on http://{bind}, admin on http://{admin}", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await listeners.stop()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bind", default="198.18.0.1:8090", metavar="HOST:PORT")
    parser.add_argument("--admin", default="127.0.0.1:8091", metavar="HOST:PORT")
    parser.add_argument("--root", type=Path, help="folder of ORG/NAME repositories; default: the demo's")
    given = parser.parse_args()
    asyncio.run(serve(given.root or demo_root(), given.bind, given.admin))


if __name__ == "__main__":
    main()
