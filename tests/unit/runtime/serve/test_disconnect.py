"""Who goes away stops his generation at once, in the queue, in a stream and before the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.runtime.serve.conftest import FakeModel

pytest.importorskip("fastapi")

from slipway_runtime.serve.app import build_app
from slipway_runtime.serve.engine import Engine
from slipway_runtime.serve.metrics import Metrics
from slipway_runtime.serve.options import Options


class Caller:
    """One HTTP request, spoken in ASGI, which can hang up in the middle."""

    def __init__(self, app: Any, path: str, body: Any) -> None:
        self.sent: list[Any] = []
        self._leave = asyncio.Event()
        self._body: bytes | None = json.dumps(body).encode()
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1"}
        scope |= {"method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        scope |= {"headers": headers, "client": None, "server": None, "scheme": "http", "root_path": ""}
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def leave(self) -> None:
        """Hang up, and wait until the server has noticed."""
        self._leave.set()
        await asyncio.wait_for(self.task, 2)


@pytest.fixture
def engine(model: FakeModel) -> Iterator[Engine]:
    engine = Engine(1, Metrics())
    engine.load(model)
    model.gate.clear()
    yield engine
    model.gate.set()
    engine.close()


@pytest.fixture
def app(engine: Engine, options: Options) -> Any:
    return build_app(options, engine)


async def until(condition: Any) -> None:
    """Return once it holds."""
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110 - threads change it, without an event
            await asyncio.sleep(0.002)


def counted(engine: Engine, code: str) -> float:
    value = engine.metrics.registry.get_sample_value(
        "slipway_transformers_requests_total", {"route": "/v1/completions", "code": code}
    )
    return value or 0.0


@pytest.mark.parametrize("stream", [False, True])
async def test_before_the_first_token(app: Any, engine: Engine, model: FakeModel, *, stream: bool) -> None:
    caller = Caller(app, "/v1/completions", {"prompt": "a", "stream": stream})
    await until(lambda: model.asks)
    await caller.leave()
    await until(lambda: engine.slots.running == 0)
    assert model.cancellations == 1
    assert counted(engine, "499") == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_in_the_middle_of_an_answer(
    app: Any, engine: Engine, model: FakeModel, *, stream: bool
) -> None:
    model.answer = "a" * 100_000
    model.gate.set()
    caller = Caller(app, "/v1/completions", {"prompt": "a", "stream": stream, "max_tokens": 90_000})
    await until(lambda: len(caller.sent) > 3 or not stream)
    await until(lambda: model.asks)
    model.gate.clear()
    await caller.leave()
    await until(lambda: engine.slots.running == 0)
    assert model.cancellations == 1
    tokens = engine.metrics.registry.get_sample_value("slipway_transformers_generated_tokens_total")
    assert (tokens or 0) < 90_000
    assert counted(engine, "499") == 1


async def test_in_the_queue(app: Any, engine: Engine, model: FakeModel) -> None:
    first = Caller(app, "/v1/completions", {"prompt": "a"})
    await until(lambda: engine.slots.running == 1)
    second = Caller(app, "/v1/completions", {"prompt": "b"})
    await until(lambda: engine.slots.waiting == 1)
    third = Caller(app, "/v1/completions", {"prompt": "c"})
    await until(lambda: engine.slots.waiting == 2)
    await second.leave()
    assert engine.slots.waiting == 1
    model.gate.set()
    await asyncio.wait_for(asyncio.gather(first.task, third.task), 2)
    assert [bytes(ask.prompt) for ask in model.asks] == [b"a", b"c"]
    assert (counted(engine, "200"), counted(engine, "499")) == (2, 1)
    await until(lambda: engine.slots.running == 0)


async def test_a_full_queue_answers_429_with_retry_after(app: Any, engine: Engine, model: FakeModel) -> None:
    callers = [Caller(app, "/v1/completions", {"prompt": "a"}) for _ in range(17)]
    await until(lambda: engine.slots.waiting == 16)
    refused = Caller(app, "/v1/completions", {"prompt": "a"})
    await asyncio.wait_for(refused.task, 2)
    assert refused.sent[0]["status"] == 429
    assert (b"retry-after", b"1") in refused.sent[0]["headers"]
    model.gate.set()
    await asyncio.wait_for(asyncio.gather(*(caller.task for caller in callers)), 5)
    assert {caller.sent[0]["status"] for caller in callers} == {200}
