"""The engines' own parsers: their golden files, how a command line is checked by them, how they are made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hack.engines import parsers, recipes, texts
from tests.support.parsers import GOLDEN, check_arguments

ENGINES = sorted([*recipes.INSTALLED, *recipes.EXTRACTED])


@pytest.mark.parametrize(
    ("engine", "args"),
    [
        ("vllm", ["/models", "--served-model-name", "chat", "base", "--max-model-len", "16k", "-tp", "2"]),
        ("vllm", ["--max_model_len=4096", "--no-enable-prefix-caching", "--dtype", "bfloat16"]),
        ("vllm", ["--speculative-config", '{"method": "ngram", "num_speculative_tokens": 4}']),
        ("vllm", ["--structured-outputs-config.backend", "xgrammar", "--speculative-config.method=ngram"]),
        ("vllm", ["--lora-modules", "a=/loras/a", "b=/loras/b", "--enable-lora"]),
        (
            "sglang",
            ["--model-path", "/models", "--mem-fraction-static", "0.85", "--chunked-prefill-size", "-1"],
        ),
        ("lmdeploy", ["/models", "--quant-policy", "4", "--cache-max-entry-count", "0.8", "--tp", "2"]),
        ("llama-server", ["-m", "/models/model.gguf", "-c", "4096", "--flash-attn", "on", "-ngl", "all"]),
        ("llama-cpp-python", ["--model", "/m.gguf", "--n_gpu_layers", "-1", "--use_mmap", "true"]),
        ("tgi", ["--model-id", "/models", "--quantize", "bitsandbytes-nf4", "-p", "8080", "--num-shard=2"]),
        ("tensorrt-llm", ["/models", "--tp_size", "2", "--trust_remote_code", "--backend", "pytorch"]),
        ("text-generation-webui", ["--api", "--nowebui", "--ctx-size", "8192", "--lora", "a", "b"]),
        ("ollama", ["OLLAMA_NUM_PARALLEL=4", "OLLAMA_FLASH_ATTENTION=1", "PARAMETER num_ctx 4096"]),
        ("ollama", ["PARAMETER stop <|end of turn|>"]),
    ],
)
def test_right_command_lines_pass(engine: str, args: list[str]) -> None:
    assert check_arguments(engine, args) == []


@pytest.mark.parametrize(
    ("engine", "args", "mistake"),
    [
        ("vllm", ["--max-model-length", "1"], "--max-model-length: unknown option"),
        ("vllm", ["--task", "embed"], "--task: unknown option"),
        ("vllm", ["--port"], "--port: its value is missing"),
        ("vllm", ["--port", "--host", "::"], "--port: its value is missing"),
        ("vllm", ["--port", "http"], "--port: 'http' is no int"),
        ("vllm", ["--dtype", "fp8"], "--dtype: 'fp8' is none of auto, "),
        ("vllm", ["--enforce-eager=true"], "--enforce-eager: takes no value, but is given 'true'"),
        ("vllm", ["/models", "--enforce-eager", "true"], "'true': nothing takes this argument"),
        ("vllm", ["--speculative-config", "ngram"], "--speculative-config: 'ngram' is no json"),
        ("vllm", ["--dtype.kind", "x"], "--dtype: holds no JSON, so no dotted key"),
        ("vllm", ["--speculative-config.method"], "--speculative-config: its value is missing"),
        ("vllm", ["--lora-modules"], "--lora-modules: its value is missing"),
        ("sglang", ["--mem_fraction_static", "0.8"], "--mem_fraction_static: unknown option"),
        ("sglang", ["--mem-fraction-static", "most"], "--mem-fraction-static: 'most' is no float"),
        ("llama-server", ["--ctx-size=4096"], "--ctx-size=4096: the value must be an argument of its own"),
        (
            "llama-server",
            ["--control-vector-layer-range", "1"],
            "--control-vector-layer-range: its value is missing",
        ),
        ("llama-cpp-python", ["--use_mmap"], "--use_mmap: its value is missing"),
        ("llama-cpp-python", ["--use_mmap", "perhaps"], "--use_mmap: 'perhaps' is no bool"),
        ("tgi", ["--dtype", "fp8"], "--dtype: 'fp8' is none of float16, bfloat16"),
        ("tensorrt-llm", ["--tp-size", "2"], "--tp-size: unknown option"),
        ("ollama", ["OLLAMA_PARALLEL=4"], "OLLAMA_PARALLEL: unknown variable"),
        ("ollama", ["OLLAMA_NUM_PARALLEL"], "OLLAMA_NUM_PARALLEL: its value is missing"),
        ("ollama", ["PARAMETER num_context 1"], "num_context: unknown PARAMETER"),
        ("ollama", ["PARAMETER num_ctx many"], "num_ctx: 'many' is no int"),
    ],
)
def test_a_mistake_is_named(engine: str, args: list[str], mistake: str) -> None:
    assert [each for each in check_arguments(engine, args) if each.startswith(mistake)], check_arguments(
        engine, args
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_has_its_golden_file(engine: str) -> None:
    recipe = recipes.INSTALLED.get(engine) or recipes.EXTRACTED[engine]
    found = json.loads((GOLDEN / f"{engine}.json").read_text("utf-8"))
    assert (found["engine"], found["version"], found["how"]) == (engine, recipe.version, recipe.how)
    assert len(found["options"]) >= 30
    flags = [flag for option in found["options"] for flag in option["flags"]]
    assert len(flags) == len(set(flags))
    assert {option["kind"] for option in found["options"]} <= {"flag", "value", "optional", "list"}


def test_no_golden_file_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == ENGINES


@pytest.mark.parametrize("engine", sorted(recipes.INSTALLED))
def test_the_golden_file_is_what_the_real_parser_says(engine: str) -> None:
    if not parsers.python_of(recipes.INSTALLED[engine]).exists():
        pytest.skip(f"needs the engine's parser: python3 -m hack.engines.parsers {engine}")
    assert parsers.render(parsers.read(engine)) == (GOLDEN / f"{engine}.json").read_text("utf-8")


@pytest.mark.parametrize("engine", sorted(recipes.EXTRACTED))
def test_the_golden_file_is_what_the_text_says(engine: str) -> None:
    try:
        found = parsers.read(engine)
    except parsers.UnreadableError as error:
        pytest.skip(str(error))
    assert parsers.render(found) == (GOLDEN / f"{engine}.json").read_text("utf-8")


def test_help_of_llama_server_is_read() -> None:
    text = "-fa,   --flash-attn [on|off|auto]   set it\n--ctx-size N   size\n     --not-a-flag N\n"
    text += "--perf, --no-perf\n"
    assert texts.llama_server(text)["options"] == [
        {"flags": ["--ctx-size"], "kind": "value", "type": "float"},
        {"flags": ["-fa", "--flash-attn"], "kind": "value", "type": "str", "choices": ["on", "off", "auto"]},
        {"flags": ["--perf", "--no-perf"], "kind": "flag"},
    ]


def test_click_decorators_are_read() -> None:
    text = """
@click.command("other")
@click.option("--no", type=int)
def other(): ...
@click.command("serve")
@click.argument("model", type=str)
@click.option("--a", "--b", "name", type=click.Choice(["x", "y"]), default="x")
@click.option("--c", is_flag=True)
def serve(): ...
"""
    assert texts.click_source(text, "serve") == {
        "options": [
            {"flags": ["--a", "--b"], "kind": "value", "type": "str", "choices": ["x", "y"], "default": "x"},
            {"flags": ["--c"], "kind": "flag"},
        ],
        "positionals": [{"name": "model", "kind": "value"}],
    }


def test_a_missing_text_says_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    with pytest.raises(parsers.UnreadableError, match=r"tgi: no .*tgi.md; give it with --source"):
        parsers.read("tgi")
    source = tmp_path / "launcher.md"
    source.write_text("      --speculate <SPECULATE>\n          [default: 2]\n      --ngrok\n")
    assert parsers.read("tgi", [source])["options"] == [
        {"flags": ["--ngrok"], "kind": "flag"},
        {"flags": ["--speculate"], "kind": "value", "type": "int", "default": 2},
    ]


def test_check_says_when_a_golden_file_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "GOLDEN", tmp_path)
    source = tmp_path / "launcher.md"
    source.write_text("      --ngrok\n")
    assert parsers.main(["tgi", "--source", str(source), "--check"]) == 1
    assert parsers.main(["tgi", "--source", str(source)]) == 0
    assert parsers.main(["tgi", "--source", str(source), "--check"]) == 0
