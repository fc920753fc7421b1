"""The client against a small server: connections, answers that are not the API's, credentials."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from slipway import kube as client
from slipway import resources
from slipway.endpoint import Endpoint
from slipway.errors import UnavailableError
from slipway.kube import Kube

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
WATCHES = 130
"""More than the connections that ordinary requests share: thirteen kinds in ten namespaces."""


class NoToken:
    """The official client's configuration, as far as it is asked."""

    async def auth_settings(self) -> dict[str, Any]:
        return {}


class BrokenToken(NoToken):
    async def auth_settings(self) -> dict[str, Any]:
        raise ValueError("Token file exists but empty.")


@asynccontextmanager
async def answering(answer: Answer, configuration: NoToken | None = None) -> AsyncIterator[Kube]:
    """A client of a server that gives this answer to everything."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    kube = Kube(Endpoint(server, None, "", configuration or NoToken()), request_seconds=5)
    try:
        yield kube
    finally:
        await kube.close()
        await runner.cleanup()


async def test_any_number_of_watches_leaves_connections_for_requests() -> None:
    watching, all_watch = 0, asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal watching
        if "watch" not in request.query:
            return web.json_response({"kind": "Lease"})
        response = web.StreamResponse()
        await response.prepare(request)
        watching += 1
        if watching == WATCHES:
            all_watch.set()
        await asyncio.Event().wait()
        return response

    async with answering(answer) as kube:

        async def watch() -> None:
            async for _ in kube.watch(resources.POD, "n", {}, 60):
                pass

        tasks = [asyncio.create_task(watch()) for _ in range(WATCHES)]
        async with asyncio.timeout(20):
            await all_watch.wait()
            assert await kube.get(resources.LEASE, "n", "slipway-operator") == {"kind": "Lease"}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(text: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text)

    return answer


@pytest.mark.parametrize("text", ["<html>please log in</html>", "", "[]", '{"error": "log in"}', '{"kind":'])
async def test_what_is_no_answer_of_the_api_counts_as_unavailable(text: str) -> None:
    async with answering(saying(f"{text}\n")) as kube:
        with pytest.raises(UnavailableError, match="no answer of a Kubernetes API"):
            await kube.get(resources.SERVICE, "n", "a")
        with pytest.raises(UnavailableError, match="no answer of a Kubernetes API"):
            await kube.list_page(resources.SERVICE, "n", {})
        if text:
            with pytest.raises(UnavailableError, match="watch /api/v1/namespaces/n/services: no answer"):
                await anext(aiter(kube.watch(resources.SERVICE, "n", {}, 60)))


async def test_a_token_that_cannot_be_renewed_counts_as_unavailable() -> None:
    async with answering(saying("{}"), BrokenToken()) as kube:
        with pytest.raises(UnavailableError, match="check the mounted token"):
            await kube.get(resources.SERVICE, "n", "a")
        with pytest.raises(UnavailableError, match="check the mounted token"):
            await anext(aiter(kube.watch(resources.SERVICE, "n", {}, 60)))


async def test_a_connection_that_does_not_come_is_said_with_its_own_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.3)
    with ExitStack() as held, socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        for _ in range(4):  # they fill its queue: the next one is not taken
            waiting = held.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(deaf.getsockname())
        kube = Kube(Endpoint(f"http://127.0.0.1:{deaf.getsockname()[1]}", None, "", NoToken()))
        with pytest.raises(UnavailableError, match=r"no connection in 0\.3 s"):
            await kube.get(resources.SERVICE, "n", "a")
        await kube.close()
