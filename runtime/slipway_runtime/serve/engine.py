"""Runs generations: a slot and a thread for each request, pieces handed to the event loop. For ``app``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from slipway_runtime.log import LOGGER
from slipway_runtime.serve.ask import Ask
from slipway_runtime.serve.generator import Finish, Generator
from slipway_runtime.serve.metrics import Metrics
from slipway_runtime.serve.refusal import FatalError, OverloadError, Refusal
from slipway_runtime.serve.slots import Slots
from slipway_runtime.serve.text import TextStream

FAILURES = 3
"""Generations that fail in a row until the worker counts as dead: one may be the request's own fault."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer.

    Attributes:
        text: new text; may be empty.
        token: the newest token.
        tokens: tokens so far, those that gave no text included.
        finish: why the answer ends with this piece; None while it goes on.
    """

    text: str
    token: int
    tokens: int
    finish: Finish | None = None


class Generation:
    """One running request: iterate over its pieces; `cancel` it at any time, more than once if need be."""

    def __init__(self, prompt_tokens: int, text: TextStream) -> None:
        self.prompt_tokens = prompt_tokens
        self.cancelled = Event()
        self._text = text
        self._queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def cancel(self) -> None:
        """Stop generating; the iteration ends. Callable from the event loop."""
        self.cancelled.set()
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while not self.cancelled.is_set():
            item = await self._queue.get()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
            if item.finish is not None:
                return

    def put(self, item: Piece | Exception) -> None:
        """Hand an item to the iteration. For the worker's thread."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    def run(self, generator: Generator, ask: Ask, on_count: Callable[[int], None]) -> None:
        """Generate and hand over the pieces; `on_count` hears of every token. For the worker's thread."""
        count = last = 0

        def on_token(token: int) -> bool:
            nonlocal count, last
            count, last = count + 1, token
            on_count(count)
            text = self._text.feed(token)
            if self._text.stopped:
                self.put(Piece(text, token, count, "stop"))
            elif text:
                self.put(Piece(text, token, count))
            return not self._text.stopped and not self.cancelled.is_set()

        finish = generator.generate(ask, self.cancelled, on_token)
        if not self._text.stopped and not self.cancelled.is_set():
            rest = self._text.flush()
            self.put(Piece(rest, last, count, "stop" if self._text.stopped else finish))


class Engine:
    """The model with its slots and its state: loading, ready, or dead with a reason."""

    def __init__(self, concurrency: int, metrics: Metrics) -> None:
        self.metrics = metrics
        self.slots = Slots(concurrency)
        metrics.watch(lambda: self.slots.running, lambda: self.slots.waiting)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="generate")
        self._generator: Generator | None = None
        self._failures = 0
        self.dead: str | None = None
        """Why no request can be answered any more."""

    def load(self, generator: Generator) -> None:
        """Take the loaded model: from now on requests are answered."""
        self._generator = generator

    @property
    def generator(self) -> Generator:
        """The model; Refusal 503 while there is none, and once it can't be used any more."""
        if self.dead is not None:
            raise Refusal(503, f"the worker died: {self.dead}", code="worker_died")
        if self._generator is None:
            raise Refusal(503, "the model is being loaded: try again in a moment", code="loading")
        return self._generator

    async def start(self, ask: Ask, began: float) -> Generation:
        """Wait for a slot and begin to generate; cancelling the wait leaves the queue.

        Args:
            ask: prompt and sampling.
            began: `time.monotonic()` of the request's arrival.

        Raises:
            Refusal: 429 when the queue is full, 503 without a model.
        """
        generator = self.generator
        await self.slots.take()
        try:
            # Dead, perhaps, since this request began to wait.
            generator = self.generator
            generation = Generation(len(ask.prompt), TextStream(generator.decode, ask.sampling.stop))
            worker = asyncio.get_running_loop().run_in_executor(
                self._threads, self._work, generation, generator, ask, began
            )
        except BaseException:
            self.slots.give_back()
            raise
        self.metrics.prompt_tokens.inc(len(ask.prompt))
        # The slot is free when the thread is, not when the client is gone: memory is bounded by it.
        worker.add_done_callback(lambda _: self.slots.give_back())
        return generation

    def _work(self, generation: Generation, generator: Generator, ask: Ask, began: float) -> None:
        """Run one generation in its thread; whatever happens reaches the client as a Refusal."""

        def on_count(count: int) -> None:
            if count == 1:
                self.metrics.time_to_first_token_seconds.observe(time.monotonic() - began)
            self.metrics.generated_tokens.inc()

        if generation.cancelled.is_set():
            return
        try:
            generation.run(generator, ask, on_count)
        except OverloadError as error:
            generation.put(Refusal(503, f"no memory for this request: {error}", code="out_of_memory"))
        except Exception as error:  # noqa: BLE001 - the client is told, the thread lives on
            LOGGER.exception("a generation failed")
            self._fail(error)
            generation.put(
                Refusal(500, f"the generation failed: {describe(error)}", code="generation_failed")
            )
        else:
            self._failures = 0

    def _fail(self, error: Exception) -> None:
        """Count a failure; the worker is dead when it can't go on, or when nothing works any more."""
        self._failures += 1
        if isinstance(error, FatalError) or self._failures >= FAILURES:
            self.dead = self.dead or describe(error)
            LOGGER.error("the worker died: %s", self.dead)

    def close(self) -> None:
        """Let the threads go; call it when nothing runs any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def describe(error: BaseException) -> str:
    """Return the error's kind and its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
