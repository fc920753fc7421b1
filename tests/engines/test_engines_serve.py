"""Every engine that runs without a GPU serves the real small model, as a user asks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from slipway.engines import ENGINES
from tests.cluster import access
from tests.cluster.access import ROOT
from tests.cluster.namespaces import Cluster
from tests.engines.asking import asked, endpoint, request

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
QUESTION = "What is the capital of France?"


@dataclass(frozen=True)
class Case:
    """How one engine is asked for, and what it then serves."""

    engine: str
    level: str
    metrics: bool = True
    errors: str = "PASS"
    engine_wish: Mapping[str, Any] = field(default_factory=dict)


CASES = (
    Case("vllm", "BF16"),
    Case("transformers", "BF16"),
    # Its chat route answers 500 to content in parts, as the load tool sends it: the checklist finds that out.
    Case("llama-cpp-python", "F16", metrics=False, errors="FAIL"),
    # It knows max_tokens alone, the load tool says max_completion_tokens: unbounded, an answer may outlast
    # the whole measurement. Its threads spin for each other, too, beside a load tool on the same two cores.
    Case(
        "ollama",
        "F16",
        metrics=False,
        engine_wish={"resources": {"cpu": "1"}, "generation": {"maxTokens": 32}},
    ),
)


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    """The engines' images that the node has."""
    found: dict[str, Any] = json.loads((ROOT / ".cluster/engine-images.json").read_text())
    return found


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.engine)
def test_the_engine_answers(case: Case, built: dict[str, Any], home: Cluster) -> None:
    assert case.engine in built, f"no image of {case.engine}: make engine-images"
    wish = {"name": case.engine, "contextLength": 2048, "concurrency": 2, **case.engine_wish}
    home.model("chat", engine=wish, optimize={"method": "none"})
    status = home.wait_ready("chat", 1200)["status"]
    assert (status["plan"]["engine"], status["plan"]["level"]) == (case.engine, case.level)
    (pod,) = home.engines("chat")
    image = pod["spec"]["containers"][0]["image"]
    assert image.endswith(built[case.engine]["digest"])
    base = endpoint(home, "chat")
    # What a small model chats differs by kernel; how this sentence goes on does not.
    told = asked(
        base, {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 4}, "completions"
    )
    assert "Paris" in told["choices"][0]["text"]
    answer = asked(base, {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 24})
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] > 1
    assert streamed(base) > 1
    if case.metrics:
        engine = ENGINES[case.engine].metrics
        text = access.DIRECT.open(f"{base}{engine.path}", timeout=10).read().decode()
        for name in (engine.running, engine.waiting, engine.generated_tokens):
            assert f"\n{name}" in text, name
    measured = home.wait("the benchmark's checks", lambda: verdicts(home), 300)
    seen = home.mdl("chat")["status"]["benchmark"]
    assert (measured["errors"], measured["pod-security"]) == (case.errors, "PASS"), seen
    assert measured["metrics-endpoint"] == ("PASS" if case.metrics else "FAIL")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def verdicts(home: Cluster) -> dict[str, str]:
    """Check to verdict, once the benchmark is in; else nothing."""
    status = home.mdl("chat")["status"]
    results = status.get("checklist", {}).get("results", ())
    return {one["check"]: one["result"] for one in results} if "benchmark" in status else {}


def streamed(base: str) -> int:
    """Pieces of a streamed answer."""
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 16, "stream": True}
    with access.DIRECT.open(request(base, body), timeout=120) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("data: {")]
    return sum(bool(json.loads(line[6:])["choices"]) for line in lines)
