"""The benchmark of a model that makes vectors: what is asked, what counts, and what its figures mean."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from slipway_runtime.benchmark import embeddings, load
from slipway_runtime.benchmark.embeddings import Answer
from slipway_runtime.contract import EMBEDDINGS, RESULT_LIMIT, Exit
from slipway_runtime.errors import StageError
from tests.support.http_server import answering

from .conftest import Bench

VECTOR = {"data": [{"embedding": [0.1, 0.2]}], "usage": {"prompt_tokens": 100, "total_tokens": 100}}


class Server:
    """Vectors in place of a model: what it was asked, and how many at once."""

    def __init__(self, answer: Any = VECTOR, code: int = 200, seconds: float = 0.002) -> None:
        self.answer, self.code, self.seconds = answer, code, seconds
        self.bodies: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.most = self.busy = 0
        self.lock = threading.Lock()

    def asked(self, path: str, body: bytes) -> None:
        with self.lock:
            self.paths.add(path)
            self.bodies.append(json.loads(body))
            self.busy += 1
            self.most = max(self.most, self.busy)
        time.sleep(self.seconds)
        with self.lock:
            self.busy -= 1


@contextmanager
def serving(server: Server) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"vllm:num_requests_running 0\n")

        def do_POST(self) -> None:
            server.asked(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(server.code)
            self.end_headers()
            self.wfile.write(json.dumps(server.answer).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
            pass

    with answering(Handler) as url:
        yield url


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "MAX_REQUESTS", 40)


def run(bench: Bench, url: str, **environment: str) -> dict[str, Any]:
    given = {"SLIPWAY_ENDPOINT": url, "SLIPWAY_MODEL_NAME": "bge", "SLIPWAY_BENCHMARK_ROUTE": EMBEDDINGS}
    given |= {"SLIPWAY_METRICS_PREFIX": "vllm:", "SLIPWAY_BENCHMARK_SECONDS": "5", **environment}
    return load.benchmark(bench.job("benchmark", **given))


def test_vectors_are_asked_for_and_no_tokenizer_is_needed(bench: Bench) -> None:
    server = Server()
    with serving(server) as url:
        result = run(bench, url, SLIPWAY_CONCURRENCIES="1,4", SLIPWAY_PROMPT_TOKENS="64")
    assert server.paths == {"/v1/embeddings"}
    assert {body["model"] for body in server.bodies} == {"bge"}
    assert {len(body["input"].split()) for body in server.bodies} == {48}
    texts = [body["input"] for body in server.bodies]
    assert len(set(texts)) == len(texts) == 80, "no cache answers"
    assert server.most == 4
    assert (result["tool"], result["metricsOk"]) == ("slipway-runtime /v1/embeddings", True)
    assert '"percent": 50' in bench.out.getvalue()
    assert len(json.dumps(result)) < RESULT_LIMIT
    one, four = result["levels"]
    assert (one["concurrency"], four["concurrency"]) == (1, 4)
    assert (one["requests"], one["errors"]) == (40, 0)
    assert float(one["inputTokensPerSecond"]) == pytest.approx(
        100 * float(one["requestsPerSecond"]), rel=0.01
    )
    assert 2 <= float(one["latencyP50Ms"]) <= float(one["latencyP95Ms"])


def test_time_ends_it_too(bench: Bench) -> None:
    server = Server(seconds=0.3)
    with serving(server) as url:
        began = time.monotonic()
        (level,) = run(bench, url, SLIPWAY_CONCURRENCIES="2", SLIPWAY_BENCHMARK_SECONDS="1")["levels"]
    assert time.monotonic() - began < 4
    assert 2 <= level["requests"] < 40


@pytest.mark.parametrize(
    "server",
    [
        Server({"error": "no"}, 400), Server({}), Server([]), Server({"data": []}), Server("text"),
        Server({"data": [{"embedding": []}]}),
    ],
    ids=["refused", "empty", "a list", "no vector", "a string", "an empty vector"],
)  # fmt: skip
def test_what_is_no_vector_is_an_error(bench: Bench, server: Server) -> None:
    with serving(server) as url:
        (level,) = run(bench, url, SLIPWAY_CONCURRENCIES="2")["levels"]
    assert (level["requests"], level["errors"]) == (0, 40)
    assert level["latencyP95Ms"] == level["ttftP95Ms"] == "inf"
    assert "inputTokensPerSecond" not in level


def test_who_does_not_answer_at_all_is_tried_again(bench: Bench) -> None:
    with serving(Server()) as url:
        pass
    with pytest.raises(StageError) as caught:
        run(bench, url)
    assert (caught.value.reason, caught.value.code) == ("EndpointUnreachable", Exit.TRANSIENT)


def test_figures() -> None:
    answers = [Answer(number / 100, 50, good=True) for number in range(1, 21)] + [Answer(9, 0, good=False)]
    assert embeddings.read_level(4, answers, 10.0) == {
        "concurrency": 4, "requests": 20, "errors": 1, "requestsPerSecond": "2.00", "tokensPerSecond": "0.0",
        "ttftP50Ms": "100", "ttftP95Ms": "190", "inputTokensPerSecond": "100.0", "latencyP50Ms": "100",
        "latencyP95Ms": "190",
    }  # fmt: skip
