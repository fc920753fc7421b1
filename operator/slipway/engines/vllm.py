"""vLLM 0.32: safetensors on GPUs of every vendor, and on CPU when it is asked for. Found by the package."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.api.validate import Problem
from slipway.engines import chat, openai
from slipway.engines.arguments import adapters, argument_problems, flags, switches, user_args
from slipway.engines.base import EngineDef, Launch, Metrics
from slipway.engines.offline import OFFLINE
from slipway.plan.companion_memory import kernel_rank
from slipway.plan.decision import Plan
from slipway.plan.facts import CPU, EngineFacts, Loads
from slipway.plan.quantities import GIB

PORT: Final = 8000
BOTH: Final = frozenset({"amd64", "arm64"})
AMD64: Final = frozenset({"amd64"})
GUESSES: Final[Mapping[str, str]] = {"draft": "draft_model", "medusa": "medusa"}
"""Our methods to vLLM's. Its parser still takes mlp_speculator, and its model runner ends at it."""
AT_LOAD: Final[Mapping[str, str]] = {"fp8": "fp8"}
"""Methods that vLLM applies to 16-bit weights while it loads them, to its ``--quantization``."""
SHUTDOWN_SECONDS: Final = 20
"""After preStop nobody should be connected; without this vLLM cuts what runs at once."""
MASTER_PORT: Final = 29501
ACROSS: Final = """\
set -- "$@" --node-rank "$LWS_WORKER_INDEX" --master-addr "$LWS_LEADER_ADDRESS"
[ "$LWS_WORKER_INDEX" = 0 ] || set -- "$@" --headless
exec "$@"
"""
"""Rank and address of a pod among those of its replica, which a LeaderWorkerSet puts into its environment."""

COMMON: Final = (
    Loads("none"),
    Loads("fp8", at_load=True),
    Loads("awq"),
    Loads("gptq"),
    Loads("compressed-tensors"),
    Loads("mxfp4"),
)
NVIDIA: Final = (
    Loads("none", 7.0),
    Loads("fp8", 8.9, at_load=True),
    Loads("int8", 7.5),
    Loads("awq", 7.5),
    Loads("gptq", 7.0),
    Loads("compressed-tensors", 7.5),
    Loads("mxfp4", 8.0),
    Loads("nvfp4", 10.0),
)
"""With the least compute capability for which vLLM has kernels that are worth it."""

RESERVED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("model", "tokenizer", "revision", "hf-config-path", "hf-token"), "spec.model.source"),
    "trust-remote-code": "",
    "served-model-name": "spec.engine.servedModelName",
    **dict.fromkeys(("host", "port", "root-path", "uds", "disable-log-stats", "config"), ""),
    **dict.fromkeys(("api-key", "ssl-keyfile", "ssl-certfile", "ssl-ca-certs"), "spec.access.allowFrom"),
    "max-model-len": "spec.engine.contextLength",
    "max-num-seqs": "spec.engine.concurrency",
    **dict.fromkeys(("gpu-memory-utilization", "device-memory-utilization"), "spec.engine.gpuMemoryShare"),
    "kv-cache-memory-bytes": "spec.engine.gpuMemoryShare",
    **dict.fromkeys(("tensor-parallel-size", "tp"), "spec.engine.tensorParallel"),
    **dict.fromkeys(("pipeline-parallel-size", "pp"), "spec.engine.pipelineParallel"),
    **dict.fromkeys(("data-parallel-size", "dp"), "spec.engine.dataParallel"),
    **dict.fromkeys(("dtype", "quantization", "q"), "spec.optimize.method"),
    "kv-cache-dtype": "spec.engine.kvCacheDtype",
    "enable-prefix-caching": "spec.engine.prefixCaching",
    "enable-chunked-prefill": "spec.engine.chunkedPrefill",
    "load-format": "spec.engine.loadFormat",
    **dict.fromkeys(("speculative-config", "sc", "spec-method", "spec-tokens"), "spec.engine.speculative"),
    "spec-model": "spec.engine.speculative",
    **dict.fromkeys(("enable-lora", "lora-modules", "max-loras", "max-lora-rank"), "spec.model.adapters"),
    "structured-outputs-config": "spec.engine.structuredOutput",
    **dict.fromkeys(("tool-call-parser", "enable-auto-tool-choice"), "spec.engine.toolParser"),
    "reasoning-parser": "spec.engine.reasoningParser",
    "override-generation-config": "spec.engine.generation",
    "shutdown-timeout": "",
    **dict.fromkeys(("nnodes", "n", "node-rank", "r", "master-addr", "master-port", "headless"), ""),
    "distributed-executor-backend": "",
    **dict.fromkeys(("runner", "convert"), "spec.model.source"),
}
"""Arguments that Slipway sets, or that would break its probes, to the field to use instead (empty: none)."""

TEMPLATE_RESERVED: Final = {"chat-template": "spec.engine.generation.systemPrompt, or the template, not both"}
"""Set by Slipway when there is a system prompt."""


def command(launch: Launch) -> list[str]:
    """Said, though it is the image's own: images of makers differ. A template is written first."""
    server = ["vllm", "serve"]
    spread = ["/bin/sh", "-c", ACROSS, "across", *server] if launch.plan.parallel.pods > 1 else server
    return chat.writes(spread, launch)


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last."""
    plan, engine = launch.plan, launch.spec.engine or Engine()
    parallel, device = plan.parallel, plan.accelerator
    given: dict[str, str | int | None] = {
        "--model": launch.model_path,
        "--served-model-name": launch.model_name,
        "--host": "0.0.0.0",  # noqa: S104 - a pod is reached from outside, and by its own probes
        "--port": PORT,
        "--max-model-len": plan.context_length,
        "--max-num-seqs": plan.concurrency,
        "--dtype": plan.dtype or None,
        "--quantization": AT_LOAD[plan.method] if plan.at_load else None,
        "--gpu-memory-utilization": f"{device.share / 100:g}" if device else None,
        "--tensor-parallel-size": parallel.tensor if parallel.tensor > 1 else None,
        "--pipeline-parallel-size": parallel.pipeline if parallel.pipeline > 1 else None,
        "--data-parallel-size": parallel.data if parallel.data > 1 else None,
        "--kv-cache-dtype": None if engine.kv_cache_dtype in (None, "auto") else engine.kv_cache_dtype,
        "--load-format": engine.load_format,
        "--speculative-config": _speculative(launch),
        "--structured-outputs-config.backend": engine.structured_output,
        "--tool-call-parser": engine.tool_parser,
        "--reasoning-parser": engine.reasoning_parser,
        "--override-generation-config": _generation(launch),
        "--chat-template": chat.template_path(launch),
        "--shutdown-timeout": SHUTDOWN_SECONDS,
        **_embeds(launch),
        **_nodes(plan),
        **_adapters(launch),
    }
    wished = {
        "--enable-prefix-caching": engine.prefix_caching,
        "--enable-chunked-prefill": engine.chunked_prefill,
        "--enable-auto-tool-choice": True if engine.tool_parser else None,
        # Without a GPU there are no graphs to capture, and compiling takes minutes on few cores.
        "--enforce-eager": True if device is None else None,
        "--enable-lora": True if launch.adapters else None,
    }
    named = adapters("--lora-modules", launch)
    return [*flags(given), *named, *switches(wished), *user_args(launch.spec)]


def _embeds(launch: Launch) -> dict[str, str | int | None]:
    return {"--runner": "pooling", "--convert": "embed"} if launch.embeds else {}


def _nodes(plan: Plan) -> dict[str, str | int | None]:
    """Of the pods of one replica; ``ACROSS`` adds what differs between them."""
    if plan.parallel.pods == 1:
        return {}
    return {
        "--nnodes": plan.parallel.pods,
        "--master-port": MASTER_PORT,
        "--distributed-executor-backend": "mp",
    }


def _speculative(launch: Launch) -> str | None:
    wished: dict[str, str | int]
    if launch.ngram is not None:
        wished = {
            "method": "ngram",
            "num_speculative_tokens": launch.guessed,
            "prompt_lookup_max": launch.ngram.longest_run,
        }
    elif launch.draft is not None and launch.draft.kind in GUESSES:
        wished = {
            "method": GUESSES[launch.draft.kind],
            "model": launch.draft.path,
            "num_speculative_tokens": launch.guessed,
        }
    else:
        return None
    return json.dumps(wished, separators=(",", ":"))


def _adapters(launch: Launch) -> dict[str, str | int | None]:
    """All adapters may be in one batch, each with the largest rank, which is rounded up to a kernel's."""
    if not launch.adapters:
        return {}
    rank = max(one.rank for one in launch.adapters)
    return {
        "--max-loras": len(launch.adapters),
        "--max-lora-rank": kernel_rank(rank),
    }


def _generation(launch: Launch) -> str | None:
    """Defaults for requests that don't say otherwise, in the names of a generation_config.json."""
    wished = (launch.spec.engine or Engine()).generation
    longest = wished.max_tokens if wished else None
    said = chat.sampling(launch) | ({"max_new_tokens": longest} if longest is not None else {})
    return json.dumps(said, separators=(",", ":")) if said else None


def env(launch: Launch) -> dict[str, str]:
    """Caches on the writable volume, no hub, no telemetry; on CPU the KV cache, which has no argument."""
    given = {
        **OFFLINE,
        "VLLM_NO_USAGE_STATS": "1",
        **chat.variables(launch),
    }
    if launch.plan.accelerator is None:
        kv_cache = math.ceil(launch.plan.memory.kv_cache / GIB)
        threads = str(launch.plan.threads)
        given |= {
            "VLLM_CPU_KVCACHE_SPACE": str(kv_cache),
            # The cores of a container are a share of time, not a set: binding would put all pods on the same.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": threads,
        }
    return given


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, or that are not written as names."""
    return argument_problems(spec, RESERVED, TEMPLATE_RESERVED)


ENGINE = EngineDef(
    facts=EngineFacts(
        name="vllm",
        loads={
            CPU: (Loads("none"), Loads("awq"), Loads("gptq"), Loads("int8"), Loads("compressed-tensors")),
            "nvidia": NVIDIA,
            "amd": (*COMMON, Loads("int8")),
            "intel": COMMON,
            "gaudi": (Loads("none"), Loads("fp8", at_load=True), Loads("awq"), Loads("gptq")),
            "ascend": (Loads("none"), Loads("int8"), Loads("compressed-tensors")),
        },
        architectures={
            CPU: BOTH, "nvidia": BOTH, "amd": AMD64, "intel": AMD64, "gaudi": AMD64, "ascend": BOTH,
        },
        reads={
            CPU: frozenset({"W4A16", "W8A8"}),
            "nvidia": frozenset({
                "W4A16", "W8A16", "W8A8", "FP8", "FP8_STATIC", "NVFP4", "NVFP4A16", "MXFP4", "MXFP4A16",
            }),
            "amd": frozenset({"W4A16", "W8A8", "FP8", "FP8_STATIC"}),
            "intel": frozenset({"W4A16", "FP8", "FP8_STATIC"}),
            "ascend": frozenset({"W8A8"}),
        },
        capabilities=frozenset({
            "system-prompt", "sampling-defaults", "tensor-parallel", "pipeline-parallel", "data-parallel",
            "multi-node", "memory-share", "prefix-caching", "chunked-prefill", "load-format",
            "structured-output", "tool-parser", "reasoning-parser", "speculative-ngram", "speculative-draft",
            "speculative-medusa", "adapters", "kv-cache-fp8",
        }),
        modalities=frozenset({"text", "multimodal", "embedding"}),
        goals=frozenset({"", "throughput", "latency", "cost", "quality"}),
        rank=1,
        overhead=1 * GIB,
        host_memory=3 * GIB,
    ),
    images={
        CPU: "docker.io/vllm/vllm-openai-cpu:v0.31.0",
        "nvidia": "docker.io/vllm/vllm-openai:v0.32.0",
        "amd": "docker.io/vllm/vllm-openai-rocm:v0.31.0",
        "intel": "docker.io/vllm/vllm-openai-xpu:v0.31.0",
        "gaudi": "vault.habana.ai/gaudi-docker/1.24.0/ubuntu24.04/habanalabs/"
        "vllm-0.19.0-ptfork-2.10.0:1.24.0-1007",
        "ascend": "quay.io/ascend/vllm-ascend:v0.23.0",
    },
    port=PORT,
    metrics=Metrics(
        prefix="vllm:",
        running="vllm:num_requests_running",
        waiting="vllm:num_requests_waiting",
        prompt_tokens="vllm:prompt_tokens_total",
        generated_tokens="vllm:generation_tokens_total",
        ttft="vllm:time_to_first_token_seconds",
        kv_use="vllm:kv_cache_usage_perc",
        drafted="vllm:spec_decode_num_draft_tokens_total",
        accepted="vllm:spec_decode_num_accepted_tokens_total",
    ),
    reserved_args=RESERVED,
    command=command,
    args=args,
    env=env,
    startup_probe=lambda launch: openai.startup_probe(launch, PORT, delay=openai.SLOW_START_SECONDS),
    problems=problems,
    scratch="8Gi",
)  # fmt: skip
