"""TensorRT-LLM 1.2: ``trtllm-serve`` with its PyTorch backend on NVIDIA's GPUs.

By name, and for goal latency where the installation names its image: pulls need terms of NVIDIA's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.api.validate import Problem
from slipway.engines import openai
from slipway.engines.arguments import argument_problems, flags, share_of_free, user_args
from slipway.engines.base import EngineDef, Launch, Metrics
from slipway.engines.offline import OFFLINE
from slipway.plan.facts import EngineFacts, Loads
from slipway.plan.quantities import GIB

PORT: Final = 8000
GRAMMARS: Final[Mapping[str, str]] = {"guidance": "llguidance"}
"""Grammar backends that vLLM calls otherwise."""
STEP_TOKENS: Final = 8192
"""Tokens of a step, its default; a longer prompt is refused unless prefill is in chunks."""
OPTIONS_VARIABLE: Final = "SLIPWAY_OPTIONS"
OPTIONS: Final = "/tmp/options.yaml"  # noqa: S108 - the pod's own emptyDir
SERVED: Final = "/tmp/served"  # noqa: S108 - the same
START: Final = f"""\
printf '%s' "${OPTIONS_VARIABLE}" > {OPTIONS} || exit 74
mkdir -p {SERVED} && ln -sfn "$1" "{SERVED}/$2" || exit 74
shift 2
exec "$@"
"""
"""Writes the options that have no argument, and calls the model's folder by the served name.

Releases before 1.3 serve a model under its folder's name alone.
"""

RESERVED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("tokenizer", "revision", "custom-tokenizer"), "spec.model.source"),
    "trust-remote-code": "spec.model.trustRemoteCode",
    **dict.fromkeys(("backend", "custom-module-dirs"), ""),
    **dict.fromkeys(("host", "port", "server-role", "metadata-server-config-file"), ""),
    **dict.fromkeys(("extra-llm-api-options", "config"), "the fields of spec.engine"),
    "max-seq-len": "spec.engine.contextLength",
    "max-batch-size": "spec.engine.concurrency",
    "max-num-tokens": "spec.engine.chunkedPrefill",
    **dict.fromkeys(
        ("free-gpu-memory-fraction", "kv-cache-free-gpu-memory-fraction"), "spec.engine.gpuMemoryShare"
    ),
    **dict.fromkeys(("tp-size", "tensor-parallel-size"), "spec.engine.tensorParallel"),
    **dict.fromkeys(("pp-size", "pipeline-parallel-size"), "spec.engine.pipelineParallel"),
    "enable-chunked-prefill": "spec.engine.chunkedPrefill",
    "tool-parser": "spec.engine.toolParser",
    "reasoning-parser": "spec.engine.reasoningParser",
}
"""Arguments that Slipway sets, or that would break its probes, to the field to use instead (empty: none)."""


def command(launch: Launch) -> list[str]:
    """A shell that writes files first; the image starts no server by itself."""
    return ["/bin/sh", "-c", START, "start", launch.model_path, launch.model_name, "trtllm-serve"]


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last."""
    plan, engine = launch.plan, launch.spec.engine or Engine()
    parallel, chunked = plan.parallel, engine.chunked_prefill is not False
    given: dict[str, str | int | None] = {
        "--backend": "pytorch",
        "--host": "0.0.0.0",  # noqa: S104 - a pod is reached from outside, and by its own probes
        "--port": PORT,
        "--max_seq_len": plan.context_length,
        "--max_batch_size": plan.concurrency,
        # Off by default; the longest prompt then has to fit into one step.
        "--max_num_tokens": STEP_TOKENS if chunked else max(STEP_TOKENS, plan.context_length),
        "--tp_size": parallel.tensor if parallel.tensor > 1 else None,
        "--pp_size": parallel.pipeline if parallel.pipeline > 1 else None,
        "--tool_parser": engine.tool_parser,
        "--reasoning_parser": engine.reasoning_parser,
        "--extra_llm_api_options": OPTIONS,
    }
    wished = {"--enable_chunked_prefill": chunked, "--trust_remote_code": launch.trusts_code}
    switched = [name for name, on in wished.items() if on]
    return [f"{SERVED}/{launch.model_name}", *flags(given), *switched, *user_args(launch.spec)]


def options(launch: Launch) -> dict[str, Any]:
    """What has no argument; a YAML file, of which JSON is a part."""
    engine = launch.spec.engine or Engine()
    guess = launch.ngram
    grammar = engine.structured_output or "xgrammar"
    cache = {
        "enable_block_reuse": engine.prefix_caching is not False,
        "free_gpu_memory_fraction": float(share_of_free(launch.plan)),
        "dtype": "fp8" if engine.kv_cache_dtype == "fp8" else "auto",
    }
    guessing = {
        "decoding_type": "NGram",
        "max_draft_len": launch.guessed if guess else None,
        "max_matching_ngram_size": guess.longest_run if guess else None,
    }
    return {
        "kv_cache_config": cache,
        # Without a backend a schema in a request is not enforced at all.
        "guided_decoding_backend": GRAMMARS.get(grammar, grammar),
        # Metrics in Prometheus' form come with it alone.
        "return_perf_metrics": True,
        **({"speculative_config": guessing} if guess else {}),
    }


def env(launch: Launch) -> dict[str, str]:
    """Caches on the writable volume, no hub, no telemetry, and the options."""
    return {
        **OFFLINE,
        "TRTLLM_NO_USAGE_STATS": "1",
        OPTIONS_VARIABLE: json.dumps(options(launch), separators=(",", ":")),
    }


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, or that are not written as names."""
    return argument_problems(spec, RESERVED)


ENGINE = EngineDef(
    facts=EngineFacts(
        name="tensorrt-llm",
        loads={"nvidia": (Loads("none", 8.0), Loads("fp8", 8.9), Loads("mxfp4", 9.0), Loads("nvfp4", 10.0))},
        architectures={"nvidia": frozenset({"amd64", "arm64"})},
        capabilities=frozenset({
            "remote-code",
            "tensor-parallel", "pipeline-parallel", "memory-share", "prefix-caching", "chunked-prefill",
            "structured-output", "tool-parser", "reasoning-parser", "speculative-ngram", "kv-cache-fp8",
        }),
        goals=frozenset({"latency"}),
        rank=5,
        # CUDA graphs for every batch size up to the greatest, and the workspaces of its kernels. Judged.
        overhead=2 * GIB,
        host_memory=6 * GIB,
    ),
    images={"nvidia": "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"},
    port=PORT,
    metrics=Metrics(
        # 1.2 counts neither requests nor tokens that run and wait; 1.3 does.
        prefix="trtllm_",
        running="",
        waiting="",
        prompt_tokens="",
        generated_tokens="",
        ttft="trtllm_time_to_first_token_seconds",
        kv_use="trtllm_kv_cache_utilization",
        path="/prometheus/metrics",
    ),
    reserved_args=RESERVED,
    command=command,
    args=args,
    env=env,
    startup_probe=lambda launch: openai.startup_probe(launch, PORT, delay=openai.SLOW_START_SECONDS),
    problems=problems,
    scratch="8Gi",
)  # fmt: skip
