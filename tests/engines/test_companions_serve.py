"""A real draft and a real adapter beside the real small model, as a user asks for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.engines import ENGINES
from slipway_runtime.benchmark.guesses import total
from tests.cluster import access
from tests.cluster.access import ROOT
from tests.cluster.hub import SMOLLM2
from tests.cluster.namespaces import Cluster
from tests.engines.asking import asked, endpoint

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
CAPITAL = {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 24}


def checked(home: Cluster, rule: str) -> dict[str, Any]:
    """The rule's result, once the benchmark is in; else nothing."""
    status = home.mdl("chat")["status"]
    results = status.get("checklist", {}).get("results", ())
    return next((one for one in results if one["check"] == rule), {}) if "benchmark" in status else {}


@pytest.mark.timeout(1500)
def test_llama_cpp_guesses_by_the_model_itself(home: Cluster) -> None:
    # Its own 8 bits guess what its 16 bits say: nearly always right, and no second model is needed.
    guess = {"draft": {"source": SMOLLM2}, "tokens": 4}
    home.model(
        "chat",
        engine={"name": "llamacpp", "contextLength": 2048, "concurrency": 2, "speculative": guess},
        optimize={"method": "none"},
    )
    status = home.wait_ready("chat", 1200)["status"]
    assert [one["kind"] for one in status["companions"]] == ["draft"]
    assert [one["level"] for one in status["artifacts"]] == ["source", "F16", "Q8_0"]
    base = endpoint(home, "chat")
    assert "Paris" in asked(base, CAPITAL, "completions")["choices"][0]["text"]
    metrics = ENGINES["llamacpp"].metrics
    text = access.DIRECT.open(f"{base}{metrics.path}", timeout=10).read().decode()
    accepted, guessed = total(text, metrics.accepted), total(text, metrics.drafted)
    assert 0.5 < accepted / guessed <= 1
    found = home.wait("the verdict on the guesses", lambda: checked(home, "speculative-acceptance"), 300)
    rate = float(home.mdl("chat")["status"]["benchmark"]["acceptanceRate"].rstrip("%"))
    assert 0 < rate <= 100
    # The benchmark's random words are harder to guess than a sentence: what is measured decides.
    assert found["result"] == ("PASS" if rate >= 50 else "WARN"), found
    (pod,) = home.engines("chat")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.timeout(1500)
def test_vllm_serves_an_adapter_under_its_own_name(home: Cluster) -> None:
    built = json.loads((ROOT / ".cluster/engine-images.json").read_text())
    assert "vllm" in built, "no image of vllm: make engine-images"
    adapter = {"name": "loud", "source": "hf://slipway-test/adapter", "mode": "serve"}
    home.model(
        "chat",
        model={"adapters": [adapter]},
        engine={"name": "vllm", "contextLength": 2048, "concurrency": 2},
        optimize={"method": "none"},
    )
    status = home.wait_ready("chat", 1200)["status"]
    assert [(one["name"], one["kind"]) for one in status["companions"]] == [("loud", "lora")]
    base = endpoint(home, "chat")
    with access.DIRECT.open(f"{base}/v1/models", timeout=10) as answer:
        assert {one["id"] for one in json.load(answer)["data"]} == {"chat", "loud"}
    plain = asked(base, CAPITAL, "completions")
    loud = asked(base, {**CAPITAL, "model": "loud"}, "completions")
    assert "Paris" in plain["choices"][0]["text"]
    assert loud["model"] == "loud"
    assert loud["choices"][0]["text"] != plain["choices"][0]["text"]
    # With the prompt's KV cache kept, sums come out in another order: the first words are what stays.
    again = asked(base, CAPITAL, "completions")["choices"][0]["text"]
    assert again[:8] == plain["choices"][0]["text"][:8]
