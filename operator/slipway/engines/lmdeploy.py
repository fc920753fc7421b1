"""LMDeploy 0.17, arguments as of 0.18: its TurboMind engine on NVIDIA's GPUs. By name only.

Types of the KV cache of 4 and 8 bits are its own (``--quant-policy``). They are known to work on NVIDIA's
GPUs from compute capability 7.0; without a word the cache keeps 16 bits, as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.api.validate import Problem
from slipway.engines import chat, openai
from slipway.engines.arguments import (
    adapters,
    argument_problems,
    flags,
    no_default_length,
    share_of_free,
    user_args,
)
from slipway.engines.base import EngineDef, Launch, Metrics
from slipway.engines.offline import OFFLINE
from slipway.plan.facts import EngineFacts, Loads
from slipway.plan.quantities import GIB

PORT: Final = 8000
FORMATS: Final = frozenset({"awq", "gptq", "compressed-tensors", "fp8", "mxfp4"})
"""Methods that ``--model-format`` names as we do."""
QUANT_POLICY: Final = {"int8": 8, "int4": 4}
"""Type of the KV cache to its number, which users know."""

RESERVED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("revision", "download-dir"), "spec.model.source"),
    "trust-remote-code": "spec.model.trustRemoteCode",
    **dict.fromkeys(("backend", "device"), ""),
    "model-name": "spec.engine.servedModelName",
    **dict.fromkeys(("server-name", "server-port", "proxy-url", "disable-metrics", "role"), ""),
    **dict.fromkeys(("api-keys", "ssl", "allow-terminate-by-client"), "spec.access.allowFrom"),
    "session-len": "spec.engine.contextLength",
    **dict.fromkeys(("max-batch-size", "max-concurrent-requests"), "spec.engine.concurrency"),
    "cache-max-entry-count": "spec.engine.gpuMemoryShare",
    "tp": "spec.engine.tensorParallel",
    "dp": "",
    **dict.fromkeys(("dtype", "model-format"), "spec.optimize.method"),
    "quant-policy": "spec.engine.kvCacheDtype",
    "enable-prefix-caching": "spec.engine.prefixCaching",
    "tool-call-parser": "spec.engine.toolParser",
    "reasoning-parser": "spec.engine.reasoningParser",
    "adapters": "spec.model.adapters",
    "generation-config": "spec.engine.generation",
    **dict.fromkeys(("nnodes", "node-rank", "dist-init-addr"), ""),
}
"""Arguments that Slipway sets, or that would break its probes, to the field to use instead (empty: none)."""


def command(launch: Launch) -> list[str]:
    """The image has no entrypoint of its own; defaults of requests are written first."""
    return chat.writes(["lmdeploy", "serve", "api_server"], launch, template=False, defaults=True)


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last."""
    plan, engine = launch.plan, launch.spec.engine or Engine()
    given: dict[str, str | int | None] = {
        "--model-name": launch.model_name,
        "--server-name": "0.0.0.0",  # noqa: S104 - a pod is reached from outside, and by its own probes
        "--server-port": PORT,
        # TurboMind serves no adapters.
        "--backend": "pytorch" if launch.adapters else "turbomind",
        "--session-len": plan.context_length,
        "--max-batch-size": plan.concurrency,
        "--dtype": plan.dtype or None,
        # The other backend reads it in the model's own configuration.
        "--model-format": plan.method if plan.method in FORMATS and not launch.adapters else None,
        "--tp": plan.parallel.tensor if plan.parallel.tensor > 1 else None,
        "--quant-policy": QUANT_POLICY.get(engine.kv_cache_dtype or ""),
        "--cache-max-entry-count": share_of_free(plan) if plan.accelerator else None,
        "--tool-call-parser": engine.tool_parser,
        "--reasoning-parser": engine.reasoning_parser,
    }
    # Off by default here, on in all others: spec.engine.prefixCaching promises the same of each.
    cached = [] if engine.prefix_caching is False else ["--enable-prefix-caching"]
    named = adapters("--adapters", launch)
    trusted = ["--trust-remote-code"] if launch.trusts_code else []
    return [chat.model_folder(launch), *flags(given), *named, *cached, *trusted, *user_args(launch.spec)]


def env(launch: Launch) -> dict[str, str]:
    """Caches on the writable volume, no hub."""
    return {
        **OFFLINE,
        **chat.variables(launch, template=False, defaults=True),
    }


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, and a default that no server's file holds."""
    return [*argument_problems(spec, RESERVED), *no_default_length(spec, "lmdeploy")]


ENGINE = EngineDef(
    facts=EngineFacts(
        name="lmdeploy",
        loads={
            "nvidia": (
                Loads("none", 7.0), Loads("fp8", 8.9), Loads("awq", 7.5), Loads("gptq", 7.5),
                Loads("compressed-tensors", 7.5), Loads("mxfp4", 8.0),
            ),
        },
        architectures={"nvidia": frozenset({"amd64"})},
        capabilities=frozenset({
            "remote-code",
            "sampling-defaults", "tensor-parallel", "memory-share", "prefix-caching", "tool-parser",
            "reasoning-parser", "kv-cache-int8", "kv-cache-int4", "adapters",
        }),
        modalities=frozenset({"text", "multimodal"}),
        rank=4,
        overhead=1 * GIB,
        host_memory=3 * GIB,
    ),
    images={"nvidia": "docker.io/openmmlab/lmdeploy:v0.17.0-cu12.8"},
    port=PORT,
    metrics=Metrics(
        prefix="lmdeploy:",
        running="lmdeploy:num_requests_running",
        waiting="lmdeploy:num_requests_waiting",
        prompt_tokens="lmdeploy:prompt_tokens_total",
        generated_tokens="lmdeploy:generation_tokens_total",
        ttft="lmdeploy:time_to_first_token_seconds",
        kv_use="lmdeploy:gpu_cache_usage_perc",
    ),
    reserved_args=RESERVED,
    command=command,
    args=args,
    env=env,
    # Its image promises no curl.
    startup_probe=lambda launch: openai.startup_probe(launch, PORT, curl=False),
    problems=problems,
    scratch="4Gi",
)  # fmt: skip
