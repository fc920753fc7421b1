"""llama-cpp-python 0.3.36: GGUF behind the Python bindings' own server. CPU, by name only.

One request at a time: the server holds a lock, so the plan's concurrency is a queue here. It has no metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.api.validate import Problem
from slipway.engines import openai
from slipway.engines.arguments import argument_problems
from slipway.engines.base import GGUF_CAPABILITIES, EngineDef, Launch, Metrics
from slipway.plan.facts import CPU, EngineFacts, Loads

PORT: Final = 8000
GGML_TYPES: Final[Mapping[str, str]] = {"q8_0": "8", "q4_0": "2"}
"""Numbers of ggml's types, which its arguments take."""
RESERVED: Final = {
    **dict.fromkeys(("model", "hf-model-repo-id"), "spec.model.source"),
    "model-alias": "spec.engine.servedModelName",
    **dict.fromkeys(("host", "port", "interrupt-requests", "config-file"), ""),
    "n-ctx": "spec.engine.contextLength",
    **dict.fromkeys(("n-threads", "n-threads-batch"), "spec.engine.resources.cpu"),
    **dict.fromkeys(("type-k", "type-v", "flash-attn"), "spec.engine.kvCacheDtype"),
    **dict.fromkeys(("draft-model", "draft-model-num-pred-tokens"), "spec.engine.speculative"),
    **dict.fromkeys(("api-key", "ssl-keyfile", "ssl-certfile"), "spec.access.allowFrom"),
}
"""Arguments that Slipway sets, to the field to use instead (empty: none)."""


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last. Each takes a value, with underscores."""
    plan, engine = launch.plan, launch.spec.engine or Engine()
    dtype = GGML_TYPES.get(engine.kv_cache_dtype or "")
    guess = launch.ngram
    given = {
        "--model": launch.model_file,
        "--model_alias": launch.model_name,
        "--host": "0.0.0.0",  # noqa: S104 - a pod is reached from outside, and by its own probes
        "--port": str(PORT),
        "--n_ctx": str(plan.context_length),
        "--n_threads": str(plan.threads),
        "--n_threads_batch": str(plan.threads),
        # By default a new request ends a running stream.
        "--interrupt_requests": "false",
        "--type_k": dtype,
        "--type_v": dtype,
        # Values of fewer bits can't be read without it.
        "--flash_attn": "true" if dtype else None,
        "--draft_model": "prompt-lookup-decoding" if guess else None,
        "--draft_model_num_pred_tokens": str(launch.guessed) if guess else None,
    }
    own = (engine.args or {}).items()
    more = {f"--{name.replace('-', '_')}": value or "true" for name, value in sorted(own)}
    chosen = {**{name: value for name, value in given.items() if value is not None}, **more}
    return [part for name, value in chosen.items() for part in (name, value)]


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, or that are not written as names."""
    return argument_problems(spec, RESERVED)


ENGINE = EngineDef(
    facts=EngineFacts(
        name="llama-cpp-python",
        loads={CPU: (Loads("gguf"),)},
        architectures={CPU: frozenset({"amd64", "arm64"})},
        capabilities=frozenset({*GGUF_CAPABILITIES, "kv-cache-q8_0", "kv-cache-q4_0", "speculative-ngram"}),
        splits=True,
        rank=11,
    ),
    images={CPU: "docker.io/slipway/llama-cpp-python:0.1.0"},
    port=PORT,
    metrics=Metrics(prefix="", running="", waiting="", prompt_tokens="", generated_tokens=""),
    reserved_args=RESERVED,
    command=lambda _: ["/opt/slipway/bin/python", "-m", "llama_cpp.server"],
    args=args,
    env=lambda _: {"HOME": "/tmp", "DO_NOT_TRACK": "1"},  # noqa: S108 - the pod's own emptyDir
    startup_probe=lambda launch: openai.startup_probe(launch, PORT),
    health="/v1/models",
    problems=problems,
)
