"""The routes over a fake model: answers, errors, the queue, metrics."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from slipway_runtime.serve.refusal import FatalError, OverloadError
from tests.unit.runtime.serve.conftest import FakeModel

CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


def read_stream(text: str) -> list[Any]:
    frames = text.removesuffix("\n\n").split("\n\n")
    return [frame if "[DONE]" in frame else json.loads(frame.removeprefix("data: ")) for frame in frames]


def metric(client: Any, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"slipway_transformers_{name} ")))


def test_a_chat(client: Any, model: FakeModel) -> None:
    got = client.post("/v1/chat/completions", json={**CHAT, "model": "fake", "temperature": 0}).json()
    assert got["choices"][0]["message"] == {"role": "assistant", "content": model.answer}
    assert got["choices"][0]["finish_reason"] == "stop"
    assert got["usage"]["completion_tokens"] == len(model.answer) + 1
    assert model.asks[0].sampling.temperature == 0
    assert model.asks[0].sampling.max_tokens == 4096 - got["usage"]["prompt_tokens"]


def test_a_completion_has_openais_bound(client: Any, model: FakeModel) -> None:
    got = client.post("/v1/completions", json={"prompt": "a"}).json()
    assert got["choices"][0]["text"] == model.answer[:16]
    assert got["choices"][0]["finish_reason"] == "length"


def test_a_stream_is_the_same_text_with_its_emoji_whole(client: Any, model: FakeModel) -> None:
    model.answer = "Ahoy 🚢, ça va?"
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    response = client.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = read_stream(response.text)
    said = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(said) == model.answer
    assert "🚢" in said
    assert usage["usage"]["completion_tokens"] == len(model.answer.encode()) + 1
    assert done == "data: [DONE]"


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_ends_the_generation(client: Any, model: FakeModel, *, stream: bool) -> None:
    body = {"prompt": "a", "max_tokens": 50, "stop": [" the"], "stream": stream}
    response = client.post("/v1/completions", json=body)
    bodies = read_stream(response.text)[:-1] if stream else [response.json()]
    assert "".join(part["choices"][0]["text"] for part in bodies) == "Paris is"
    assert bodies[-1]["choices"][0]["finish_reason"] == "stop"
    assert metric(client, "generated_tokens_total") == len("Paris is the")
    del model


def test_tgi(client: Any, model: FakeModel) -> None:
    body = {"inputs": "a", "parameters": {"max_new_tokens": 5, "details": True}}
    got = client.post("/generate", json=body).json()
    assert got["generated_text"] == "Paris"
    assert got["details"]["finish_reason"] == "length"
    assert model.asks[0].sampling.temperature == 0
    frames = read_stream(client.post("/generate_stream", json=body).text)
    assert "".join(frame["token"]["text"] for frame in frames) == "Paris"
    assert frames[-1]["generated_text"] == "Paris"


def test_the_plain_chat(client: Any, model: FakeModel) -> None:
    assert client.post("/chat", json=CHAT).json() == {
        "message": {"role": "assistant", "content": model.answer}
    }
    assert client.post("/chat", json={**CHAT, "stream": True}).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/completions", {"prompt": "a", "model": "gpt"}, 404, "`gpt` does not exist"),
        ("/v1/completions", {"prompt": "a", "n": 2}, 400, "n: this server does not support it"),
        ("/v1/completions", {}, 400, "prompt: Field required"),
        ("/v1/completions", {"prompt": ""}, 400, "empty"),
        ("/v1/completions", {"prompt": [999]}, 400, "no such token"),
        ("/v1/completions", {"prompt": "a" * 5000}, 400, "4096 tokens, and the prompt has 5000"),
        ("/v1/chat/completions", {"messages": []}, 400, "messages"),
        ("/v1/chat/completions", {**CHAT, "temperature": 9}, 400, "temperature"),
        ("/generate", {"inputs": 1}, 400, "inputs"),
        ("/nowhere", {}, 404, "Not Found"),
        ("/v1/models", {}, 405, "Method Not Allowed"),
    ],
)
def test_errors_have_openais_form(client: Any, path: str, body: Any, status: int, words: str) -> None:
    response = client.post(path, json=body)
    assert response.status_code == status
    error = response.json()["error"]
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"


def test_a_body_that_is_no_json(client: Any) -> None:
    response = client.post("/v1/completions", content="{", headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert "JSON" in response.json()["error"]["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(client: Any, *, chunked: bool) -> None:
    large = json.dumps({"prompt": "a" * 9 * 2**20}).encode()
    content = iter([large[: len(large) // 2], large[len(large) // 2 :]]) if chunked else large
    response = client.post("/v1/completions", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert "8388608 bytes" in response.json()["error"]["message"]


def test_without_a_chat_template(client: Any, model: FakeModel) -> None:
    model.has_template = False
    response = client.post("/v1/chat/completions", json=CHAT)
    assert response.status_code == 400
    assert "no chat template" in response.json()["error"]["message"]


def test_health_follows_the_worker(client: Any, model: FakeModel) -> None:
    assert client.get("/health").status_code == 200
    assert client.get("/v1/models").json()["data"][0]["id"] == "fake"
    model.error = FatalError("the device fell off the bus")
    assert client.post("/v1/completions", json={"prompt": "a"}).status_code == 500
    response = client.get("/health")
    assert response.status_code == 503
    assert "the device fell off the bus" in response.json()["error"]["message"]
    assert client.post("/v1/completions", json={"prompt": "a"}).status_code == 503


def test_health_before_the_model_is_loaded(client: Any) -> None:
    client.app.state.engine._generator = None
    for answer in (client.get("/health"), client.post("/v1/completions", json={"prompt": "a"})):
        assert answer.status_code == 503
        assert "being loaded" in answer.json()["error"]["message"]


def test_one_failure_may_be_the_requests_own_but_three_are_the_workers(client: Any, model: FakeModel) -> None:
    def fail() -> int:
        model.error = ValueError("no")
        code: int = client.post("/v1/completions", json={"prompt": "a"}).status_code
        model.error = None
        return code

    assert [fail(), fail()] == [500, 500]
    assert client.post("/v1/completions", json={"prompt": "a"}).status_code == 200
    assert [fail(), fail()] == [500, 500]
    assert client.get("/health").status_code == 200
    assert fail() == 500
    assert client.get("/health").status_code == 503


def test_no_memory_is_no_death(client: Any, model: FakeModel) -> None:
    model.error = OverloadError("out of memory")
    codes = [client.post("/v1/completions", json={"prompt": "a"}).status_code for _ in range(5)]
    assert codes == [503] * 5
    assert client.get("/health").status_code == 200


def test_no_more_run_at_once_than_the_concurrency(client: Any, model: FakeModel) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/completions", json={"prompt": "a"}), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= model.most <= 2
    # The last thread ends a moment after its answer.
    end = time.monotonic() + 2
    while metric(client, "requests_running") and time.monotonic() < end:
        time.sleep(0.005)
    assert (metric(client, "requests_running"), metric(client, "requests_waiting")) == (0, 0)


def test_metrics(client: Any, model: FakeModel) -> None:
    client.post("/v1/completions", json={"prompt": "abc"})
    client.post("/v1/completions", json={"prompt": "abc", "model": "gpt"})
    assert metric(client, "prompt_tokens_total") == 3
    assert metric(client, "generated_tokens_total") == 16
    assert metric(client, 'requests_total{code="200",route="/v1/completions"}') == 1
    assert metric(client, 'requests_total{code="404",route="/v1/completions"}') == 1
    assert metric(client, "time_to_first_token_seconds_count") == 1
    assert metric(client, "request_duration_seconds_count") == 2
    del model


def test_the_system_prompt_reaches_the_model(model: FakeModel, options: Any) -> None:
    testclient = pytest.importorskip("fastapi.testclient", exc_type=(ImportError, RuntimeError))
    from slipway_runtime.serve.app import build_app
    from slipway_runtime.serve.engine import Engine
    from slipway_runtime.serve.metrics import Metrics

    engine = Engine(1, Metrics())
    engine.load(model)
    app = build_app(replace(options, system_prompt="Be kind."), engine)
    with testclient.TestClient(app) as client:
        client.post("/chat", json=CHAT)
    assert bytes(model.asks[0].prompt).startswith(b"<system>Be kind.<user>What")
    engine.close()
