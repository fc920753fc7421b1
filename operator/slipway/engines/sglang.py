"""SGLang 0.5.21, arguments as of 0.5.23: safetensors on GPUs, and on CPUs with AMX. By name only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.api.validate import Problem, problem
from slipway.engines import chat, openai
from slipway.engines.arguments import (
    adapters,
    argument_problems,
    flags,
    no_default_length,
    share_of_static,
    user_args,
)
from slipway.engines.base import EngineDef, Launch, Metrics
from slipway.engines.offline import OFFLINE
from slipway.plan.facts import CPU, EngineFacts, Loads
from slipway.plan.quantities import GIB

PORT: Final = 8000
RENDEZVOUS_PORT: Final = 20000
AMD64: Final = frozenset({"amd64"})
AT_LOAD: Final[Mapping[str, str]] = {"fp8": "fp8", "bnb": "bitsandbytes"}
"""Methods that it applies to 16-bit weights while it loads them, to its ``--quantization``."""
GRAMMARS: Final[Mapping[str, str]] = {"guidance": "llguidance"}
"""Grammar backends that vLLM calls otherwise."""
ACROSS: Final = f"""\
exec "$@" --node-rank "$LWS_WORKER_INDEX" --dist-init-addr "$LWS_LEADER_ADDRESS:{RENDEZVOUS_PORT}"
"""
"""Rank and address of a pod among those of its replica, which a LeaderWorkerSet puts into its environment."""

RESERVED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("model-path", "model", "tokenizer-path", "revision"), "spec.model.source"),
    "trust-remote-code": "spec.model.trustRemoteCode",
    **dict.fromkeys(("config", "device"), ""),
    "served-model-name": "spec.engine.servedModelName",
    **dict.fromkeys(("host", "port", "fastapi-root-path", "enable-metrics", "grpc-mode"), ""),
    **dict.fromkeys(("api-key", "admin-api-key", "ssl-keyfile", "ssl-certfile"), "spec.access.allowFrom"),
    "context-length": "spec.engine.contextLength",
    **dict.fromkeys(("max-running-requests", "max-total-tokens"), "spec.engine.concurrency"),
    "mem-fraction-static": "spec.engine.gpuMemoryShare",
    **dict.fromkeys(("tp-size", "tensor-parallel-size", "tp"), "spec.engine.tensorParallel"),
    **dict.fromkeys(("pp-size", "pipeline-parallel-size", "pp"), "spec.engine.pipelineParallel"),
    **dict.fromkeys(("dp-size", "data-parallel-size", "dp"), "spec.engine.dataParallel"),
    **dict.fromkeys(("dtype", "quantization"), "spec.optimize.method"),
    "kv-cache-dtype": "spec.engine.kvCacheDtype",
    "disable-radix-cache": "spec.engine.prefixCaching",
    "chunked-prefill-size": "spec.engine.chunkedPrefill",
    "load-format": "spec.engine.loadFormat",
    **dict.fromkeys(("speculative-algorithm", "speculative-num-draft-tokens"), "spec.engine.speculative"),
    **dict.fromkeys(
        ("speculative-ngram-max-trie-depth", "speculative-ngram-max-bfs-breadth"), "spec.engine.speculative"
    ),
    **dict.fromkeys(("speculative-num-steps", "speculative-eagle-topk"), "spec.engine.speculative"),
    **dict.fromkeys(("speculative-draft-model-path", "speculative-draft-model"), "spec.engine.speculative"),
    **dict.fromkeys(("enable-lora", "lora-paths", "max-loras-per-batch"), "spec.model.adapters"),
    "grammar-backend": "spec.engine.structuredOutput",
    "tool-call-parser": "spec.engine.toolParser",
    "reasoning-parser": "spec.engine.reasoningParser",
    **dict.fromkeys(("preferred-sampling-params", "sampling-defaults"), "spec.engine.generation"),
    **dict.fromkeys(("nnodes", "node-rank", "dist-init-addr", "nccl-init-addr"), ""),
    "is-embedding": "spec.model.source",
}
"""Arguments that Slipway sets, or that would break its probes, to the field to use instead (empty: none)."""

TEMPLATE_RESERVED: Final = {"chat-template": "spec.engine.generation.systemPrompt, or the template, not both"}


def command(launch: Launch) -> list[str]:
    """The image has no entrypoint of its own; templates and defaults are written first."""
    server = ["python3", "-m", "sglang.launch_server"]
    spread = ["/bin/sh", "-c", ACROSS, "across", *server] if launch.plan.parallel.pods > 1 else server
    return chat.writes(spread, launch, defaults=True)


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last."""
    plan, engine = launch.plan, launch.spec.engine or Engine()
    parallel, bnb = plan.parallel, plan.at_load and plan.method == "bnb"
    given: dict[str, str | int | None] = {
        "--model-path": chat.model_folder(launch),
        "--served-model-name": launch.model_name,
        "--host": "0.0.0.0",  # noqa: S104 - a pod is reached from outside, and by its own probes
        "--port": PORT,
        "--context-length": plan.context_length,
        "--max-running-requests": plan.concurrency,
        "--dtype": plan.dtype or None,
        "--quantization": AT_LOAD[plan.method] if plan.at_load else None,
        "--tp-size": parallel.tensor if parallel.tensor > 1 else None,
        "--pp-size": parallel.pipeline if parallel.pipeline > 1 else None,
        "--dp-size": parallel.data if parallel.data > 1 else None,
        "--nnodes": parallel.pods if parallel.pods > 1 else None,
        "--kv-cache-dtype": "fp8_e4m3" if engine.kv_cache_dtype == "fp8" else None,
        "--chunked-prefill-size": -1 if engine.chunked_prefill is False else None,
        "--load-format": "bitsandbytes" if bnb else engine.load_format,
        "--grammar-backend": GRAMMARS.get(engine.structured_output or "", engine.structured_output),
        "--tool-call-parser": engine.tool_parser,
        "--reasoning-parser": engine.reasoning_parser,
        "--chat-template": chat.template_path(launch),
        **_device(launch),
        **_speculative(launch),
        # A batch of requests to the base alone takes a place, too.
        "--max-loras-per-batch": len(launch.adapters) + 1 if launch.adapters else None,
    }
    switched = {
        "--enable-lora": bool(launch.adapters),
        "--trust-remote-code": launch.trusts_code,
        "--enable-metrics": True,
        "--disable-radix-cache": engine.prefix_caching is False,
        "--is-embedding": launch.embeds,
    }
    named = adapters("--lora-paths", launch)
    return [*flags(given), *named, *(name for name, on in switched.items() if on), *user_args(launch.spec)]


def _device(launch: Launch) -> dict[str, str | int | None]:
    """Memory: a share of the device; on a CPU, where a share would be of the node's, tokens of the cache."""
    plan = launch.plan
    if plan.accelerator is None:
        return {"--device": "cpu", "--max-total-tokens": plan.context_length * plan.concurrency}
    return {"--mem-fraction-static": share_of_static(plan)}


def _speculative(launch: Launch) -> dict[str, str | int | None]:
    """One run of guesses, as other engines make; a tree's breadth of 10 would leave 5 tokens no step."""
    tokens = launch.guessed
    if launch.draft is not None:
        return {
            "--speculative-algorithm": "STANDALONE",
            "--speculative-draft-model-path": launch.draft.path,
            "--speculative-num-steps": tokens,
            "--speculative-eagle-topk": 1,
            "--speculative-num-draft-tokens": tokens + 1,
        }
    if launch.ngram is None:
        return {}
    return {
        "--speculative-algorithm": "NGRAM",
        # The last token that is certain counts as the first of the draft.
        "--speculative-num-draft-tokens": tokens + 1,
        "--speculative-ngram-max-bfs-breadth": 1,
        # A run in the cache is what was matched and what followed it.
        "--speculative-ngram-max-trie-depth": launch.ngram.longest_run + tokens,
    }


def env(launch: Launch) -> dict[str, str]:
    """Caches on the writable volume, no hub; /health that costs no token."""
    given = {
        **OFFLINE,
        "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
        **chat.variables(launch, defaults=True),
    }
    if launch.plan.accelerator is None:
        given |= {"SGLANG_USE_CPU_ENGINE": "1", "OMP_NUM_THREADS": str(launch.plan.threads)}
    return given


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, a default that no server's file holds, adapters with a draft."""
    guess = spec.engine.speculative if spec.engine else None
    both = bool(spec.model.served and guess and guess.draft)
    text = "sglang serves no adapters while a draft model guesses: drop one of the two, or use vllm"
    return [
        *argument_problems(spec, RESERVED, TEMPLATE_RESERVED),
        *no_default_length(spec, "sglang"),
        *([problem(("spec", "engine", "speculative"), text)] if both else []),
    ]


ENGINE = EngineDef(
    facts=EngineFacts(
        name="sglang",
        loads={
            CPU: (Loads("none"), Loads("int8")),
            "nvidia": (
                Loads("none", 7.5), Loads("fp8", 8.9, at_load=True), Loads("int8", 7.5), Loads("awq", 8.0),
                Loads("gptq", 8.0), Loads("compressed-tensors", 8.0), Loads("mxfp4", 8.0),
                Loads("nvfp4", 10.0), Loads("bnb", 7.5, at_load=True),
            ),
            "amd": (Loads("none"), Loads("fp8", at_load=True), Loads("compressed-tensors")),
            "ascend": (Loads("none"), Loads("compressed-tensors")),
        },
        architectures={
            CPU: AMD64, "nvidia": frozenset({"amd64", "arm64"}), "amd": AMD64, "ascend": frozenset({"arm64"}),
        },
        reads={
            "nvidia": frozenset({"W4A16", "W8A16", "W8A8", "FP8", "FP8_STATIC", "NVFP4", "NVFP4A16"}),
            "amd": frozenset({"FP8", "FP8_STATIC"}),
        },
        capabilities=frozenset({
            "remote-code",
            "system-prompt", "sampling-defaults", "tensor-parallel", "pipeline-parallel", "data-parallel",
            "multi-node", "memory-share", "prefix-caching", "chunked-prefill", "load-format",
            "structured-output", "tool-parser", "reasoning-parser", "speculative-ngram", "speculative-draft",
            "adapters", "kv-cache-fp8",
        }),
        modalities=frozenset({"text", "multimodal", "embedding"}),
        unstaged=frozenset({"draft", "mlp", "medusa", "ngram"}),
        rank=3,
        # CUDA's context, NCCL's buffers and the graphs of the usual batch sizes. Judged.
        overhead=round(1.5 * GIB),
        host_memory=3 * GIB,
    ),
    images={
        CPU: "docker.io/lmsysorg/sglang:v0.5.20-xeon",
        "nvidia": "docker.io/lmsysorg/sglang:v0.5.21",
        "amd": "docker.io/lmsysorg/sglang:v0.5.21-rocm10-mi30x",
        "ascend": "quay.io/ascend/sglang:v0.5.20-cann9.0.0-a3",
    },
    port=PORT,
    metrics=Metrics(
        prefix="sglang:",
        running="sglang:num_running_reqs",
        waiting="sglang:num_queue_reqs",
        prompt_tokens="sglang:prompt_tokens_total",
        generated_tokens="sglang:generation_tokens_total",
        ttft="sglang:time_to_first_token_seconds",
        kv_use="sglang:token_usage",
    ),
    reserved_args=RESERVED,
    command=command,
    args=args,
    env=env,
    startup_probe=lambda launch: openai.startup_probe(launch, PORT, delay=openai.SLOW_START_SECONDS),
    problems=problems,
    scratch="8Gi",
)  # fmt: skip
