"""What holds for every engine: real arguments alone, no claim without effect, probes that a shell reads."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import ENGINES, EngineDef, Launch, decide, problems
from slipway.engines.base import GGUF_CAPABILITIES
from slipway.plan.capabilities import CAPABILITIES
from slipway.plan.companions import Companion
from slipway.plan.decision import Plan
from slipway.plan.facts import CPU
from slipway.plan.nodes import node_facts
from slipway.settings import Settings
from slipway_runtime.serve.options import build_parser
from tests.support.companions import DRAFT, adapter, companions, mounted
from tests.support.gpu_nodes import gpu_node
from tests.support.parsers import check_arguments, parser
from tests.support.planning import MODELS, NODES, spec

FIELDS: dict[str, dict[str, Any]] = {
    "system-prompt": {"generation": {"systemPrompt": "Be brief."}},
    "sampling-defaults": {"generation": {"temperature": "0.2", "topP": "0.9", "topK": 20, "maxTokens": 64}},
    "tensor-parallel": {"tensorParallel": 2},
    "pipeline-parallel": {"pipelineParallel": 2},
    "data-parallel": {"dataParallel": 2},
    "memory-share": {"gpuMemoryShare": "80%"},
    "prefix-caching": {"prefixCaching": False},
    "chunked-prefill": {"chunkedPrefill": False},
    "load-format": {"loadFormat": "runai_streamer"},
    "structured-output": {"structuredOutput": "guidance"},
    "tool-parser": {"toolParser": "hermes"},
    "reasoning-parser": {"reasoningParser": "qwen3"},
    "speculative-ngram": {"speculative": {"tokens": 7, "window": 3}},
    "speculative-draft": {"speculative": {"method": "draft", "draft": DRAFT, "tokens": 4}},
    "speculative-mlp": {"speculative": {"method": "mlp", "draft": DRAFT}},
    "speculative-medusa": {"speculative": {"method": "medusa", "draft": DRAFT}},
    "adapters": {"adapters": [adapter("sql"), adapter("tone")]},
    "remote-code": {"trustRemoteCode": True},
}
"""Capability to the fields that ask for it: of the engine, but for those of ``OF_THE_MODEL``."""
OF_THE_MODEL = ("adapters", "trustRemoteCode")
GUESSES = frozenset({"speculative-ngram", "speculative-draft", "speculative-mlp", "speculative-medusa"})
"""One of them at a time."""
PLANNED = frozenset({"tensor-parallel", "pipeline-parallel", "data-parallel", "memory-share", "multi-node"})
"""Those that the plan carries; llama.cpp spreads layers by itself and fits by the share."""
ELSEWHERE: dict[str, frozenset[str]] = {
    # Earlier releases had these short names, and argparse still takes them where nothing else begins so.
    "sglang": frozenset({"tp", "pp", "dp", "tokenizer-path", "revision"}),
    "transformers": frozenset(),
    "ollama": frozenset(),
}
"""Reserved names that the parser of the dumped version has not."""
PARSERS: dict[str, Callable[[list[str]], list[str]]] = {
    "vllm": lambda args: check_arguments("vllm", args),
    "llamacpp": lambda args: check_arguments("llama-server", args),
    "llama-cpp-python": lambda args: check_arguments("llama-cpp-python", args),
    "sglang": lambda args: check_arguments("sglang", args),
    "lmdeploy": lambda args: check_arguments("lmdeploy", args),
    "tgi": lambda args: check_arguments("tgi", args),
    "tensorrt-llm": lambda args: check_arguments("tensorrt-llm", args),
    "text-generation-webui": lambda args: check_arguments("text-generation-webui", args),
    "transformers": lambda args: [] if build_parser().parse_args(args) else ["refused"],
}


def reads_gguf(engine: EngineDef) -> bool:
    return {one.method for loads in engine.facts.loads.values() for one in loads} == {"gguf"}


def machine(engine: EngineDef) -> Any:
    return node_facts(gpu_node("h100", "h")) if "nvidia" in engine.facts.loads else NODES["server-64"]


def wished(engine: EngineDef, **fields: Any) -> ModelDeploymentSpec:
    model = {"source": "hf://acme/model"} | {one: fields.pop(one) for one in OF_THE_MODEL if one in fields}
    return spec(model=model, engine={"name": engine.name, **fields})


def planned(engine: EngineDef, **fields: Any) -> tuple[ModelDeploymentSpec, Plan, tuple[Companion, ...]]:
    wish, facts = wished(engine, **fields), MODELS["llama3-8b"]
    # A draft of so many heads that the same devices share them.
    beside = tuple(
        replace(one, facts=one.facts and replace(one.facts, heads=facts.heads, kv_heads=facts.kv_heads))
        for one in companions(wish, facts)
    )
    return wish, decide(wish, facts, [machine(engine)], Settings(), beside), beside


def launch(engine: EngineDef, **fields: Any) -> Launch:
    wish, plan, beside = planned(engine, **fields)
    return Launch(wish, plan, "chat", "/models", mounted(beside))


def started(engine: EngineDef, given: Launch) -> tuple[list[str], list[str], dict[str, str]]:
    return engine.command(given), engine.args(given), engine.env(given)


def everything(engine: EngineDef, guess: str = "speculative-ngram") -> dict[str, Any]:
    """All fields that its capabilities claim, at once; of the ways to guess this one."""
    fields: dict[str, Any] = {}
    for name in sorted(engine.facts.capabilities & FIELDS.keys() - (GUESSES - {guess})):
        for key, value in FIELDS[name].items():
            fields[key] = {**fields.get(key, {}), **value} if isinstance(value, dict) else value
    if guess.removeprefix("speculative-") in engine.facts.unstaged:
        fields.pop("pipelineParallel", None)
    types = sorted(one for one in engine.facts.capabilities if one.startswith("kv-cache-"))
    return fields | ({"kvCacheDtype": types[0].removeprefix("kv-cache-")} if types else {})


@pytest.fixture(params=ENGINES.values(), ids=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineDef:
    found: EngineDef = request.param
    return found


def test_every_argument_is_known_to_the_real_parser(engine: EngineDef) -> None:
    if engine.name == "ollama":
        given = launch(engine, **everything(engine))
        settings = [
            f"{name}={value}" for name, value in engine.env(given).items() if name.startswith("OLLAMA")
        ]
        lines = engine.env(given)["SLIPWAY_MODELFILE"].splitlines()
        assert check_arguments("ollama", [*settings, *(one for one in lines if "PARAMETER" in one)]) == []
        return
    for fields in ({}, *(everything(engine, guess) for guess in sorted(GUESSES))):
        assert PARSERS[engine.name](engine.args(launch(engine, **fields))) == []


def test_every_flag_that_is_set_is_reserved(engine: EngineDef) -> None:
    whole = (engine.args(launch(engine, **everything(engine, guess))) for guess in sorted(GUESSES))
    args = [part for one in whole for part in one]
    given = {part[2:].replace("_", "-").partition(".")[0] for part in args if part.startswith("--")}
    free = {"enforce-eager", "no-enable-prefix-caching", "no-enable-chunked-prefill", "chat-template",
            "chat-template-file"}  # fmt: skip
    assert given - set(engine.reserved_args) <= free
    for name in given & set(engine.reserved_args):
        found = problems(spec(engine={"name": engine.name, "args": {name: "1"}}))
        assert "ReservedArgument" in [one.reason for one in found], name


def test_every_reserved_name_exists_in_the_real_parser(engine: EngineDef) -> None:
    if engine.name in ("ollama", "transformers"):
        return  # one takes no arguments, the other's parser is held above
    golden = "llama-server" if engine.name == "llamacpp" else engine.name
    known = {flag.lstrip("-").replace("_", "-") for flag in parser(golden).options}
    assert set(engine.reserved_args) - known <= ELSEWHERE.get(engine.name, frozenset())


def test_no_capability_is_claimed_that_changes_nothing(engine: EngineDef) -> None:
    for name in sorted(engine.facts.capabilities & FIELDS.keys()):
        if name in PLANNED and engine.name == "llamacpp":
            continue
        if name in GGUF_CAPABILITIES and reads_gguf(engine):
            continue  # there is no code to run
        plain, asked = (started(engine, launch(engine, **fields)) for fields in ({}, FIELDS[name]))
        assert plain != asked, name


def test_every_claim_has_a_name(engine: EngineDef) -> None:
    known = {*CAPABILITIES, "multi-node"}
    strange = {one for one in engine.facts.capabilities if not one.startswith("kv-cache-")} - known
    assert strange == set()


def test_images_are_named_with_registry_and_tag(engine: EngineDef) -> None:
    assert set(engine.images) == set(engine.facts.loads) == set(engine.facts.architectures)
    for accelerator, image in engine.images.items():
        if engine.name == "llamacpp" and accelerator == CPU:
            continue  # the chart's own
        assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]+/[a-z0-9._/-]+:[A-Za-z0-9._-]+", image), image


def test_a_model_that_makes_vectors_is_asked_for_one(engine: EngineDef) -> None:
    given = launch(engine)
    asked = replace(given, plan=replace(given.plan, embeds=True))
    if "embedding" in engine.facts.modalities:
        assert "/v1/embeddings" in engine.startup_probe(asked)["exec"]["command"][-1]
    assert "/v1/embeddings" not in engine.startup_probe(given)["exec"]["command"][-1]


def test_probes_and_hooks_are_read_by_a_shell(engine: EngineDef) -> None:
    given = launch(engine)
    probe = engine.startup_probe(given)
    scripts = [probe["exec"]["command"][-1], engine.drain.pre_stop[-1]]
    scripts += [part for part in engine.command(given)[2:3] if "\n" in part]
    for script in scripts:
        assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 120
    assert engine.readiness_probe["httpGet"]["path"].startswith("/")


def test_code_of_the_model_runs_only_where_it_is_trusted(engine: EngineDef) -> None:
    assert "remote-code" in engine.facts.capabilities
    for fields in ({}, FIELDS["remote-code"]):
        found = [one for one in engine.args(launch(engine, **fields)) if "trust" in one]
        wanted = bool(fields) and not reads_gguf(engine)
        assert [one.replace("_", "-") for one in found] == (["--trust-remote-code"] if wanted else [])


def test_a_wish_beyond_an_engine_is_refused_with_its_field(engine: EngineDef) -> None:
    for name in FIELDS.keys() - engine.facts.capabilities:
        found = problems(wished(engine, **FIELDS[name]))
        assert any(CAPABILITIES[name].field in one.message for one in found), name
