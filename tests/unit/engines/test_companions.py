"""How each engine is told of a draft, of heads and of adapters; the parsers are held in test_every_engine."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import ENGINES, Launch, all_engines, decide, engine_named, problems, tgi
from slipway.plan.nodes import node_facts
from slipway.plan.quantities import GIB
from slipway.settings import Settings
from tests.support.companions import DRAFT, adapter, companions, mounted
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import MODELS, NODES, spec

FACTS = MODELS["llama3-8b"]
H100 = node_facts(gpu_node("h100", "h"))


def wish(name: str, adapters: tuple[str, ...] = (), **engine: Any) -> ModelDeploymentSpec:
    model = {"source": "hf://acme/model", "adapters": [adapter(one) for one in adapters]}
    return spec(model=model if adapters else {"source": "hf://acme/model"}, engine={"name": name, **engine})


def args(given: ModelDeploymentSpec, settings: Settings | None = None, **changes: Any) -> list[str]:
    name = given.engine.name if given.engine else None
    engine = engine_named(settings or Settings(), str(name))
    machine = H100 if "nvidia" in engine.facts.loads else NODES["server-64"]
    found = companions(given, FACTS, **changes)
    plan = decide(given, FACTS, [machine], settings or Settings(), found)
    return engine.args(Launch(given, plan, "chat", "/models", mounted(found)))


def after(given: list[str], flag: str, count: int = 1) -> list[str]:
    start = given.index(flag) + 1
    return given[start : start + count]


@pytest.mark.parametrize(
    ("method", "theirs", "tokens"),
    [("draft", "draft_model", 5), ("medusa", "medusa", 3)],
)
def test_vllm_guesses_by_weights(method: str, theirs: str, tokens: int) -> None:
    given = args(wish("vllm", speculative={"method": method, "draft": DRAFT}))
    assert json.loads(after(given, "--speculative-config")[0]) == {
        "method": theirs,
        "model": "/companions/draft",
        "num_speculative_tokens": tokens,
    }


def test_vllm_serves_adapters_in_one_batch() -> None:
    given = args(wish("vllm", ("sql", "tone")))
    assert after(given, "--lora-modules", 2) == [
        "sql=/companions/adapter-sql",
        "tone=/companions/adapter-tone",
    ]
    assert "--enable-lora" in given
    assert after(given, "--max-loras") == ["2"]
    assert after(given, "--max-lora-rank") == ["32"]  # 24, to what it has kernels for


@pytest.mark.parametrize(("rank", "taken"), [(1, "1"), (8, "8"), (9, "16"), (257, "320"), (512, "512")])
def test_ranks_are_rounded_up_to_vllms(rank: int, taken: str) -> None:
    assert after(args(wish("vllm", ("sql",)), rank=rank), "--max-lora-rank") == [taken]


def test_sglang_makes_one_run_of_guesses() -> None:
    given = args(wish("sglang", ("sql",), speculative={"draft": DRAFT, "tokens": 4}))
    assert after(given, "--speculative-algorithm") == ["STANDALONE"]
    assert after(given, "--speculative-draft-model-path") == ["/companions/draft"]
    assert (after(given, "--speculative-num-steps"), after(given, "--speculative-num-draft-tokens")) == (
        ["4"],
        ["5"],
    )
    assert after(given, "--lora-paths") == ["sql=/companions/adapter-sql"]
    assert after(given, "--max-loras-per-batch") == ["2"]


@pytest.mark.parametrize(
    ("name", "adapters", "engine", "flag"),
    [
        ("sglang", (), {"speculative": {"draft": DRAFT}}, "--mem-fraction-static"),
        ("lmdeploy", ("sql",), {}, "--cache-max-entry-count"),
    ],
)
def test_the_cache_leaves_room_for_companions(
    name: str, adapters: tuple[str, ...], engine: dict[str, Any], flag: str
) -> None:
    given = wish(name, adapters, **engine)
    small, large = (float(after(args(given, weight_bytes=size), flag)[0]) for size in (1, 20 * GIB))
    # 20 GiB, once or in two places, of a device of 80.
    assert small - large > 0.2


def test_lmdeploy_changes_its_backend_for_adapters() -> None:
    assert after(args(wish("lmdeploy")), "--backend") == ["turbomind"]
    given = args(wish("lmdeploy", ("sql",)))
    assert after(given, "--backend") == ["pytorch"]
    assert after(given, "--adapters") == ["sql=/companions/adapter-sql"]


def test_tgi_names_adapters_in_one_argument() -> None:
    given = args(wish("tgi", ("sql", "tone")))
    assert after(given, "--lora-adapters") == ["sql=/companions/adapter-sql,tone=/companions/adapter-tone"]


def test_tgi_is_told_of_heads_by_a_folder_that_names_the_model(tmp_path: Path) -> None:
    given = wish("tgi", speculative={"method": "mlp", "draft": DRAFT})
    assert (after(args(given), "--model-id"), after(args(given), "--speculate")) == ([tgi.HEADS], ["3"])
    model, heads = tmp_path / "model", tmp_path / "draft"
    files = {
        model: ("config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json"),
        heads: ("config.json", "model-00001-of-00001.safetensors"),
    }
    for folder, names in files.items():
        folder.mkdir()
        for name in names:
            (folder / name).write_text('{"n_predict": 3,\n "base_model_name_or_path": "acme/theirs"\n}\n')
    found = companions(given, FACTS)
    plan = decide(given, FACTS, [H100], Settings(), found)
    launch = Launch(given, plan, "chat", str(model), (replace(mounted(found)[0], path=str(heads)),))
    command = [part.replace(tgi.HEADS, str(tmp_path / "heads")) for part in ENGINES["tgi"].command(launch)]
    assert command.pop() == "/tgi-entrypoint.sh"
    subprocess.run([*command, "true"], check=True)
    gathered = {path.name: path.resolve().parent for path in (tmp_path / "heads").iterdir()}
    assert gathered == {
        "config.json": tmp_path / "heads",
        "tokenizer.json": model,
        "model-00001-of-00001.safetensors": heads,
    }
    config = json.loads((tmp_path / "heads/config.json").read_text())
    assert config == {"n_predict": 3, "base_model_name_or_path": str(model)}


def test_llama_cpp_has_the_draft_on_the_device_whole() -> None:
    given = args(wish("llamacpp", speculative={"draft": DRAFT}))
    assert after(given, "--spec-type") == ["draft-simple"]
    assert after(given, "--spec-draft-model") == ["/companions/draft/model.gguf"]
    assert after(given, "--spec-draft-n-max") == ["5"]
    assert after(given, "--spec-draft-ngl") == ["999"]
    assert "--draft-max" not in given  # in its help, and refused


def test_text_generation_webui_hands_a_draft_on() -> None:
    given = args(wish("text-generation-webui", speculative={"draft": DRAFT}))
    assert after(given, "--model-draft") == ["/companions/draft/model.gguf"]
    assert after(given, "--draft-max") == ["5"]


def test_who_can_what() -> None:
    def those(name: str) -> set[str]:
        return {one for one, engine in ENGINES.items() if name in engine.facts.capabilities}

    assert those("adapters") == {"vllm", "sglang", "lmdeploy", "tgi"}
    assert those("speculative-draft") == {"vllm", "sglang", "llamacpp", "text-generation-webui"}
    assert those("speculative-medusa") == {"vllm"}
    # vLLM took them out with its first engine; its parser has not heard of that.
    assert those("speculative-mlp") == {"tgi"}


def test_an_engine_that_lacks_one_says_so() -> None:
    (found,) = problems(wish("llamacpp", ("sql",)))
    assert "llamacpp has no LoRA adapters under names of their own (spec.model.adapters)" in found.message
    (found,) = problems(wish("tgi", speculative={"method": "medusa", "draft": DRAFT}))
    assert "tgi has no speculative decoding by Medusa heads (spec.engine.speculative)" in found.message
    assert problems(spec(model={"source": "hf://acme/model", "adapters": [adapter("sql")]})) == []


def test_guesses_by_n_gram_are_no_draft() -> None:
    for name in ("vllm", "llamacpp", "sglang", "tensorrt-llm", "tgi", "llama-cpp-python"):
        given = wish(name, speculative={"tokens": 8})
        assert problems(given) == []
        assert "/companions" not in " ".join(args(given))


def test_a_server_of_ones_own_is_given_the_drafts_path() -> None:
    own = {
        "images": {"cpu": "docker.io/acme/server:1"},
        "format": "gguf",
        "args": ["-m", "{modelFile}"],
        "capabilities": {"speculative-draft": ["-md", "{draftPath}/model.gguf", "-n", "{speculativeTokens}"]},
        "metrics": {"prefix": "acme_"},
    }
    settings = Settings(serving_engines=(("acme", json.dumps(own)),))
    assert "acme" in all_engines(settings)
    given = args(wish("acme", speculative={"draft": DRAFT}), settings)
    assert given[-4:] == ["-md", "/companions/draft/model.gguf", "-n", "5"]
    assert "adapters" in problems(wish("acme", ("sql",)), settings)[0].message
