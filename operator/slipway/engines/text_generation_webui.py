"""text-generation-webui 4: its OpenAI routes alone, over its llama.cpp loader. GGUF, by name only.

Its makers publish no image: the one named here is a third party's and rolls, so name one by digest in
``spec.engine.image`` or the installation's settings. It has no metrics, and any name of a model is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from slipway.api.modeldeployment import Engine, Generation, ModelDeploymentSpec
from slipway.api.validate import Problem
from slipway.engines import chat, openai
from slipway.engines.arguments import argument_problems, flags, no_default_length, user_args
from slipway.engines.base import GGUF_CAPABILITIES, EngineDef, Launch, Metrics
from slipway.engines.llamacpp import ALL_LAYERS, MODEL_FILE
from slipway.engines.offline import OFFLINE
from slipway.plan.facts import CPU, EngineFacts, Loads

PORT: Final = 8000
PYTHON: Final = "python3.13"
AMD64: Final = frozenset({"amd64"})
USER_DATA: Final = "/tmp/user_data"  # noqa: S108 - the pod's own emptyDir
START: Final = f"""\
mkdir -p {USER_DATA} && cp -r /app/user_data/. {USER_DATA}/ 2> /dev/null
cd /app || exit 70
exec "$@"
"""
"""It writes beside its settings, which lie on the image's read-only root: they are copied first."""

RESERVED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("model", "model-dir", "loader"), "spec.model.source"),
    **dict.fromkeys(("trust-remote-code", "extensions", "settings", "user-data-dir", "model-menu"), ""),
    **dict.fromkeys(("api", "nowebui", "listen", "listen-host", "listen-port", "api-port", "subpath"), ""),
    **dict.fromkeys(("share", "public-api", "public-api-id", "multi-user", "gradio-auth"), ""),
    **dict.fromkeys(("api-key", "admin-key", "ssl-keyfile", "ssl-certfile"), "spec.access.allowFrom"),
    **dict.fromkeys(("ctx-size", "n-ctx", "max-seq-len"), "spec.engine.contextLength"),
    "parallel": "spec.engine.concurrency",
    **dict.fromkeys(("threads", "threads-batch"), "spec.engine.resources.cpu"),
    **dict.fromkeys(("gpu-layers", "n-gpu-layers", "cpu"), "spec.engine.resources"),
    "cache-type": "spec.engine.kvCacheDtype",
    **dict.fromkeys(("spec-type", "spec-ngram-size-n", "spec-ngram-size-m"), "spec.engine.speculative"),
    **dict.fromkeys(("model-draft", "draft-max", "gpu-layers-draft"), "spec.engine.speculative"),
    "temperature": "spec.engine.generation.temperature",
    "top-p": "spec.engine.generation.topP",
    "top-k": "spec.engine.generation.topK",
}
"""Arguments that Slipway sets, or that would break its probes, to the field to use instead (empty: none)."""

TEMPLATE_RESERVED: Final = {
    "chat-template-file": "spec.engine.generation.systemPrompt, or the template, not both"
}


def command(launch: Launch) -> list[str]:
    """The server without the image's entrypoint, which wants to be root."""
    return chat.writes(["/bin/bash", "-c", START, "start", PYTHON, "server.py"], launch, python=PYTHON)


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last."""
    plan, engine = launch.plan, launch.spec.engine or Engine()
    generation, guess = engine.generation or Generation(), launch.ngram
    layers = 0 if plan.accelerator is None else plan.gpu_layers or ALL_LAYERS
    given: dict[str, str | int | None] = {
        "--model-dir": launch.model_path,
        "--model": launch.file_name,
        "--loader": "llama.cpp",
        "--user-data-dir": USER_DATA,
        "--api-port": PORT,
        # The context is shared out among the slots: each request gets the planned length.
        "--ctx-size": plan.context_length * plan.concurrency,
        "--parallel": plan.concurrency,
        "--threads": plan.threads,
        "--threads-batch": plan.threads,
        "--gpu-layers": layers,
        "--cache-type": None if engine.kv_cache_dtype in (None, "auto") else engine.kv_cache_dtype,
        "--spec-type": "ngram-simple" if guess else None,
        "--spec-ngram-size-n": guess.longest_run if guess else None,
        "--spec-ngram-size-m": launch.guessed if guess else None,
        **_draft(launch),
        "--temperature": generation.temperature,
        "--top-p": generation.top_p,
        "--top-k": generation.top_k,
        "--chat-template-file": chat.template_path(launch),
    }
    return ["--api", "--nowebui", "--listen", *flags(given), *user_args(launch.spec)]


def _draft(launch: Launch) -> dict[str, str | int | None]:
    if launch.draft is None:
        return {}
    return {
        "--model-draft": f"{launch.draft.path}/{MODEL_FILE}",
        "--draft-max": launch.guessed,
        "--gpu-layers-draft": 0 if launch.plan.accelerator is None else ALL_LAYERS,
    }


def env(launch: Launch) -> dict[str, str]:
    """Caches on the writable volume, no hub, no telemetry."""
    return {
        **OFFLINE,
        "GRADIO_ANALYTICS_ENABLED": "0",
        # It would win over the argument.
        "OPENEDAI_PORT": str(PORT),
        **chat.variables(launch),
    }


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, and a default that it has no argument for."""
    lacks = no_default_length(spec, "text-generation-webui")
    return [*argument_problems(spec, RESERVED, TEMPLATE_RESERVED), *lacks]


ENGINE = EngineDef(
    facts=EngineFacts(
        name="text-generation-webui",
        loads={CPU: (Loads("gguf"),), "nvidia": (Loads("gguf"),)},
        architectures={CPU: AMD64, "nvidia": AMD64},
        capabilities=frozenset({
            *GGUF_CAPABILITIES,
            "system-prompt", "sampling-defaults", "speculative-ngram", "speculative-draft", "kv-cache-q8_0",
            "kv-cache-q4_0",
        }),
        rank=13,
    ),
    images={
        CPU: "docker.io/atinoda/text-generation-webui:default-cpu",
        "nvidia": "docker.io/atinoda/text-generation-webui:default-nvidia",
    },
    port=PORT,
    metrics=Metrics(prefix="", running="", waiting="", prompt_tokens="", generated_tokens=""),
    reserved_args=RESERVED,
    command=command,
    args=args,
    env=env,
    startup_probe=lambda launch: openai.startup_probe(launch, PORT, curl=False),
    health="/v1/models",
    problems=problems,
    scratch="1Gi",
)  # fmt: skip
