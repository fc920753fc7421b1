"""A model that turns text into vectors, by the real vLLM: planned as such, asked, measured."""

from __future__ import annotations

import math

import pytest

from tests.cluster.namespaces import Cluster
from tests.engines.asking import asked, endpoint

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
MODEL = "hf://slipway-test/embedding"
TEXTS = [
    "The cat sleeps on the warm sofa.",
    "A kitten is napping on the couch.",
    "Revenue of the company rose by four percent.",
]


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


@pytest.mark.timeout(1500)
def test_vllm_serves_vectors(home: Cluster) -> None:
    home.model("chat", MODEL, engine={"name": "vllm", "contextLength": 2048, "concurrency": 2})
    status = home.wait_ready("chat", 1200)["status"]
    assert status["plan"]["engine"] == "vllm"
    answer = asked(endpoint(home, "chat"), {"input": TEXTS}, "embeddings")
    cat, kitten, revenue = ([float(x) for x in one["embedding"]] for one in answer["data"])
    assert len(cat) == 576
    assert cosine(cat, kitten) > cosine(cat, revenue)
    measured = home.wait("the benchmark", lambda: home.mdl("chat")["status"].get("benchmark"), 300)
    assert [level["errors"] for level in measured["levels"]] == [0] * len(measured["levels"])
    for level in measured["levels"]:
        assert float(level["inputTokensPerSecond"]) > 0
        assert float(level["latencyP50Ms"]) > 0
    results = {one["check"]: one["result"] for one in home.mdl("chat")["status"]["checklist"]["results"]}
    assert (results["ttft"], results["errors"]) == ("SKIP", "PASS")


def test_an_engine_that_writes_text_says_that_it_serves_no_vectors(home: Cluster) -> None:
    home.model("chat", MODEL)
    refused = home.wait_reason("chat", "Planned", "UnsupportedArchitecture")
    assert "Name an engine in spec.engine.name that loads it on CPU" in refused["message"]
