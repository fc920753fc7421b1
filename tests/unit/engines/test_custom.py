"""Engines of ServingEngine objects: used like built-in ones, wrong ones named."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from slipway.api import API_VERSION
from slipway.engines import Launch, decide, engine_named, image_of, problems
from slipway.errors import InvalidSpecError
from slipway.manifests.owner import Owner
from slipway.manifests.revision import Pinned, build_revision, pinned_settings, read_pinned
from slipway.plan.nodes import node_facts
from slipway.settings import Images, Settings
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import COMMIT, MODELS, NODES, spec

OWN: dict[str, Any] = {
    "images": {"cpu": "acme.example/server:1", "nvidia": "acme.example/server:1-cuda"},
    "architectures": ["amd64", "arm64"],
    "format": "safetensors",
    "methods": ["none", "fp8"],
    "atLoad": ["fp8"],
    "command": ["/serve"],
    "args": ["--model={modelPath}", "--name", "{modelName}", "--port", "{port}", "--ctx", "{contextLength}"],
    "capabilities": {
        "tensor-parallel": ["--tp={tensorParallel}"],
        "sampling-defaults": ["--temp={temperature}"],
        "kv-cache-fp8": ["--kv={kvCacheDtype}"],
    },
    "env": {"THREADS": "{threads}"},
    "port": 9000,
    "healthPath": "/live",
    "request": {"path": "/gen", "body": '{"m":"{modelName}","n":1}', "expect": '"n":1'},
    "metrics": {"prefix": "acme_", "running": "acme_running"},
}


def settings(**changes: Any) -> Settings:
    return Settings(serving_engines=(("acme", json.dumps({**OWN, **changes})),))


def test_it_is_planned_and_started_like_a_built_in_one() -> None:
    node = node_facts(gpu_node("h100", "h"))
    wish = spec(engine={"name": "acme", "tensorParallel": 2, "generation": {"temperature": "0.2"}})
    plan = decide(wish, MODELS["llama3-8b"], [node], settings())
    assert (plan.engine, plan.method, plan.at_load, plan.parallel.tensor) == ("acme", "fp8", True, 2)
    engine = engine_named(settings(), "acme")
    launch = Launch(wish, plan, "chat", "/models")
    assert engine.args(launch) == [
        "--model=/models", "--name", "chat", "--port", "9000", "--ctx", "4096", "--temp=0.2", "--tp=2",
    ]  # fmt: skip
    assert engine.command(launch) == ["/serve"]
    assert engine.env(launch)["THREADS"] == str(plan.threads)
    assert image_of(settings(), wish, plan) == "acme.example/server:1-cuda"
    command = engine.startup_probe(launch)["exec"]["command"]
    assert '{"m":"chat","n":1}' in command[-1]
    assert subprocess.run(["sh", "-n", "-c", command[-1]], check=False).returncode == 0
    assert engine.readiness_probe["httpGet"]["path"] == "/live"


def test_it_serves_on_cpu_where_its_image_is_for_that() -> None:
    wish = spec(engine={"name": "acme"})
    plan = decide(wish, MODELS["smollm2-135m"], [NODES["server-64"]], settings())
    assert (plan.engine, plan.method, plan.accelerator) == ("acme", "none", None)
    assert image_of(settings(), wish, plan) == "acme.example/server:1"


def test_it_is_never_chosen_by_itself() -> None:
    plan = decide(spec(), MODELS["llama3-8b"], [node_facts(gpu_node("h100", "h"))], settings())
    assert plan.engine == "vllm"


def test_what_it_can_not_do_is_said() -> None:
    found = problems(spec(engine={"name": "acme", "prefixCaching": True}), settings())
    assert [one.message for one in found] == [
        "spec.engine: acme has no switch for prefix caching (spec.engine.prefixCaching)"
    ]
    assert problems(spec(engine={"name": "acme", "kvCacheDtype": "fp8"}), settings()) == []


WRONG = {
    "an unknown placeholder": ({"args": ["{nonsense}"]}, "{nonsense}"),
    "an unknown capability": ({"capabilities": {"fly": []}}, "fly is none"),
    "an accelerator that there is not": ({"images": {"tpu": "x:1"}}, "an accelerator is one of"),
    "a method of another format": ({"methods": ["gguf"]}, "format gguf"),
    "no metrics": ({"metrics": None}, "spec.metrics"),
}


@pytest.mark.parametrize(("changes", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_it_is_said_by_the_model(changes: dict[str, Any], words: str) -> None:
    (found,) = problems(spec(engine={"name": "acme"}), settings(**changes))
    assert found.reason == "UnknownEngine"
    assert "ServingEngine acme can't be used" in found.message
    assert words in found.message
    with pytest.raises(InvalidSpecError):
        engine_named(settings(**changes), "acme")


def test_an_unknown_name_lists_it() -> None:
    (found,) = problems(spec(engine={"name": "acmee"}), settings())
    assert "did you mean acme" in found.message


def test_a_built_in_name_can_not_be_taken() -> None:
    taken = Settings(serving_engines=(("vllm", json.dumps(OWN)),))
    assert engine_named(taken, "vllm").port == 8000


def test_a_revision_keeps_the_engine_that_it_was_made_with() -> None:
    plan = decide(spec(engine={"name": "acme"}), MODELS["smollm2-135m"], [NODES["local"]], settings())
    given = Pinned(
        "0123456789", "hf://acme/model", COMMIT, MODELS["smollm2-135m"], plan, Images(), ("a",),
        engine=json.dumps(OWN),
    )  # fmt: skip
    owner = Owner(API_VERSION, "ModelDeployment", "chat", "u1", "default")
    kept = read_pinned(json.loads(json.dumps(build_revision(owner, 1, given))))
    assert kept == given
    assert engine_named(pinned_settings(settings(port=9100), kept), "acme").port == 9000
    assert engine_named(pinned_settings(Settings(), kept), "acme").port == 9000
