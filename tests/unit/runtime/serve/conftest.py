"""What the server's tests share: a model that needs no torch, and the application around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from slipway_runtime.serve.ask import Ask
from slipway_runtime.serve.generator import Finish
from slipway_runtime.serve.options import Options
from slipway_runtime.serve.refusal import Refusal

END = 256
"""The fake's token that ends an answer; all others are bytes."""


@dataclass
class FakeModel:
    """Every token is a byte of UTF-8, and the answer is a fixed text.

    Attributes:
        answer: what it says to everything.
        error: what `generate` raises instead.
        gate: when it is cleared, generating waits before each token until it is set.
    """

    answer: str = "Paris is the capital."
    error: Exception | None = None
    has_template: bool = True
    context_length: int | None = 4096
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    gate: Event = field(default_factory=Event)
    asks: list[Ask] = field(default_factory=list)
    cancellations: int = 0
    most: int = 0
    """Generations that ran at once, at most."""

    def __post_init__(self) -> None:
        self.gate.set()
        self._lock = threading.Lock()
        self._running = 0

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(text.encode())

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        if not self.has_template:
            raise Refusal(400, "this model has no chat template", code="no_chat_template")
        return self.encode("".join(f"<{message['role']}>{message['content']}" for message in messages))

    def check(self, tokens: Sequence[int]) -> None:
        if any(token > END for token in tokens):
            raise Refusal(400, "no such token", param="prompt")

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token != END).decode(errors="replace")

    def generate(self, ask: Ask, cancelled: Event, on_token: Callable[[int], bool]) -> Finish:
        with self._lock:
            self.asks.append(ask)
            self._running += 1
            self.most = max(self.most, self._running)
        try:
            return self._generate(ask, cancelled, on_token)
        finally:
            with self._lock:
                self._running -= 1

    def _generate(self, ask: Ask, cancelled: Event, on_token: Callable[[int], bool]) -> Finish:
        if self.error is not None:
            raise self.error
        tokens = [*self.answer.encode(), END][: ask.sampling.max_tokens]
        for token in tokens:
            while not self.gate.wait(0.005):
                if cancelled.is_set():
                    self.cancellations += 1
                    return "stop"
            if not on_token(token):
                self.cancellations += cancelled.is_set()
                return "stop"
        return "eos" if tokens[-1] == END else "length"


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def options() -> Options:
    return Options(model=Path("/model"), name="fake", concurrency=2)


@pytest.fixture
def client(model: FakeModel, options: Options) -> Iterator[Any]:
    """A client of the application, its model loaded."""
    testclient = pytest.importorskip("fastapi.testclient", exc_type=(ImportError, RuntimeError))
    from slipway_runtime.serve.app import build_app
    from slipway_runtime.serve.engine import Engine
    from slipway_runtime.serve.metrics import Metrics

    engine = Engine(options.concurrency, Metrics())
    engine.load(model)
    app = build_app(options, engine)
    app.state.engine = engine
    with testclient.TestClient(app) as opened:
        yield opened
    model.gate.set()
    engine.close()
