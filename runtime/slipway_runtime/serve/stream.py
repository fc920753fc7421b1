"""Answers to clients that may go away: whoever leaves stops his generation at once. For ``routes``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from slipway_runtime.serve.answers import DONE, MEDIA_TYPE, Answer, sse
from slipway_runtime.serve.engine import Generation, Piece
from slipway_runtime.serve.refusal import Refusal

Result = TypeVar("Result")
GONE = 499
"""nginx' code for a client that closed the connection; nobody gets to see it but the metrics."""
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""A proxy that buffers would turn the stream into one late answer."""


async def wait_gone(receive: Receive) -> None:
    """Return once the client closed the connection; the request's body was read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the work's result; cancel it and raise Refusal 499 when the client goes away first."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(wait_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Refusal(GONE, "the client closed the connection")
    finally:
        gone.cancel()
        task.cancel()


class Started:
    """A generation whose first piece has come, so that what fails at once still gets its own status."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self._pieces = aiter(generation)
        self._first: Piece | None = None

    async def wait_first(self) -> None:
        """Return once there is a piece; Refusal when the generation failed before."""
        try:
            self._first = await anext(self._pieces)
        except StopAsyncIteration:
            raise Refusal(GONE, "the generation was cancelled") from None
        except BaseException:
            self.generation.cancel()
            raise

    async def __aiter__(self) -> AsyncIterator[Piece]:
        if self._first is not None:
            yield self._first
            if self._first.finish is not None:
                return
        async for piece in self._pieces:
            yield piece

    async def collect(self) -> Answer:
        """Return the whole answer, and leave no generation behind when this is cancelled."""
        texts: list[str] = []
        try:
            async for piece in self:
                texts.append(piece.text)
                if piece.finish is not None:
                    return Answer("".join(texts), self.generation.prompt_tokens, piece.tokens, piece.finish)
        finally:
            self.generation.cancel()
        raise Refusal(GONE, "the generation was cancelled")


class PieceResponse(StreamingResponse):
    """Server-sent events of one generation, which ends with the response, however that ends."""

    def __init__(
        self,
        started: Started,
        opening: Iterable[str],
        frames: Callable[[Piece], Iterable[str]],
    ) -> None:
        super().__init__(self._stream(started, opening, frames), media_type=MEDIA_TYPE, headers=HEADERS)
        self._generation = started.generation

    @staticmethod
    async def _stream(
        started: Started, opening: Iterable[str], frames: Callable[[Piece], Iterable[str]]
    ) -> AsyncIterator[str]:
        for frame in opening:
            yield frame
        try:
            async for piece in started:
                for frame in frames(piece):
                    yield frame
        except Refusal as refusal:
            # The status is sent: all that is left is to say it in the stream.
            yield sse(refusal.body())
            yield DONE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream while watching the connection."""
        del scope
        gone = asyncio.create_task(wait_gone(receive))
        gone.add_done_callback(lambda _: self._generation.cancel())
        try:
            await self.stream_response(send)
        finally:
            gone.cancel()
            self._generation.cancel()
