"""Hugging Face transformers behind our own server: for models that no other engine loads. CPU, by name only.

The server is ``slipway_runtime.serve``; its routes are OpenAI's, ``/generate`` and ``/chat``.
"""

from __future__ import annotations

from typing import Final

from slipway.api.modeldeployment import Engine, Generation, ModelDeploymentSpec
from slipway.api.validate import Problem
from slipway.engines import openai
from slipway.engines.arguments import argument_problems, flags, user_args
from slipway.engines.base import EngineDef, Launch, Metrics
from slipway.engines.offline import OFFLINE
from slipway.plan.facts import CPU, EngineFacts, Loads
from slipway.plan.quantities import GIB

PORT: Final = 8000
PREFIX: Final = "slipway_transformers_"
RESERVED: Final = {
    "model": "spec.model.source",
    "name": "spec.engine.servedModelName",
    "trust-remote-code": "spec.model.trustRemoteCode",
    **dict.fromkeys(("host", "port", "device"), ""),
    "dtype": "spec.optimize.method",
    "quantization": "spec.optimize.method",
    "context-length": "spec.engine.contextLength",
    "concurrency": "spec.engine.concurrency",
    "threads": "spec.engine.resources.cpu",
    "max-new-tokens-default": "spec.engine.generation.maxTokens",
    "system-prompt": "spec.engine.generation.systemPrompt",
    "temperature": "spec.engine.generation.temperature",
    "top-p": "spec.engine.generation.topP",
    "top-k": "spec.engine.generation.topK",
}
"""Arguments that Slipway sets, to the field to use instead (empty: none)."""


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last."""
    plan = launch.plan
    generation = (launch.spec.engine or Engine()).generation or Generation()
    given: dict[str, str | int | None] = {
        "--model": launch.model_path,
        "--name": launch.model_name,
        "--host": "0.0.0.0",  # noqa: S104 - a pod is reached from outside, and by its own probes
        "--port": PORT,
        "--dtype": plan.dtype or None,
        "--device": "cpu",
        "--context-length": plan.context_length,
        "--concurrency": plan.concurrency,
        "--threads": plan.threads,
        "--max-new-tokens-default": generation.max_tokens,
        "--system-prompt": generation.system_prompt,
        "--temperature": generation.temperature,
        "--top-p": generation.top_p,
        "--top-k": generation.top_k,
    }
    trusted = ["--trust-remote-code"] if launch.trusts_code else []
    return [*flags(given), *trusted, *user_args(launch.spec)]


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, or that are not written as names."""
    return argument_problems(spec, RESERVED)


ENGINE = EngineDef(
    facts=EngineFacts(
        name="transformers",
        loads={CPU: (Loads("none"),)},
        architectures={CPU: frozenset({"amd64", "arm64"})},
        capabilities=frozenset({"remote-code", "system-prompt", "sampling-defaults"}),
        rank=10,
        overhead=GIB,
        host_memory=1 * GIB,
    ),
    images={CPU: "docker.io/slipway/transformers:0.1.0"},
    port=PORT,
    metrics=Metrics(
        prefix=PREFIX,
        running=f"{PREFIX}requests_running",
        waiting=f"{PREFIX}requests_waiting",
        prompt_tokens=f"{PREFIX}prompt_tokens_total",
        generated_tokens=f"{PREFIX}generated_tokens_total",
        ttft=f"{PREFIX}time_to_first_token_seconds",
    ),
    reserved_args=RESERVED,
    command=lambda _: ["/opt/slipway/bin/python", "-m", "slipway_runtime.serve"],
    args=args,
    env=lambda _: dict(OFFLINE),
    startup_probe=lambda launch: openai.startup_probe(launch, PORT),
    problems=problems,
    scratch="1Gi",
)
