"""Ollama 0.17.4: a GGUF through a Modelfile, on CPU and on NVIDIA's and AMD's GPUs. By name only.

It has no metrics.
"""

from __future__ import annotations

import json
from typing import Final

from slipway.api import reasons
from slipway.api.modeldeployment import Engine, Generation, ModelDeploymentSpec
from slipway.api.validate import Problem, problem
from slipway.engines import openai
from slipway.engines.base import GGUF_CAPABILITIES, EngineDef, Launch, Metrics
from slipway.engines.llamacpp import ALL_LAYERS
from slipway.plan.facts import CPU, EngineFacts, Loads

PORT: Final = 8000
AMD64: Final = frozenset({"amd64"})
BOTH: Final = frozenset({"amd64", "arm64"})
START: Final = """\
printf '%s' "$SLIPWAY_MODELFILE" > /tmp/Modelfile || exit 74
sum=$(sha256sum "$2") || exit 66
mkdir -p "$OLLAMA_MODELS/blobs" && ln -sfn "$2" "$OLLAMA_MODELS/blobs/sha256-${sum%% *}" || exit 74
ollama serve & server=$!
trap 'kill $server; wait $server; exit 0' TERM
until ollama list > /dev/null 2>&1; do kill -0 $server || exit 70; sleep 0.1; done
ollama create "$1" -f /tmp/Modelfile || exit 65
wait $server
"""
"""Starts the server, tells it of the model, and ends when it does.

``ollama create`` copies weights to where the server keeps its models, unless a blob of that sum is there: a
link to the mounted file is.
"""


def command(_launch: Launch) -> list[str]:
    """A shell: the model is made known to a running server."""
    return ["/bin/sh", "-c", START, "start"]


def modelfile(launch: Launch) -> str:
    """FROM the mounted file, its context and threads, defaults of requests, the system prompt."""
    plan = launch.plan
    generation = (launch.spec.engine or Engine()).generation or Generation()
    parameters = {
        "num_ctx": plan.context_length,
        "num_thread": plan.threads,
        # 0 in the CPU's case would do the same; absent, the server counts what fits by itself.
        "num_gpu": (plan.gpu_layers or ALL_LAYERS) if plan.accelerator else None,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "top_k": generation.top_k,
        "num_predict": generation.max_tokens,
    }
    lines = [f"FROM {launch.model_file}"]
    lines += [f"PARAMETER {name} {value}" for name, value in parameters.items() if value is not None]
    if generation.system_prompt is not None:
        lines.append(f'SYSTEM """{generation.system_prompt}"""')
    return "\n".join(lines) + "\n"


def env(launch: Launch) -> dict[str, str]:
    """The server's settings, which are all in its environment; nothing is pulled, nothing unloaded."""
    wished = (launch.spec.engine or Engine()).kv_cache_dtype
    given = {
        "HOME": "/tmp",  # noqa: S108 - the pod's own emptyDir
        "OLLAMA_HOST": f"0.0.0.0:{PORT}",
        "OLLAMA_MODELS": "/tmp/models",  # noqa: S108 - the same
        "OLLAMA_CONTEXT_LENGTH": str(launch.plan.context_length),
        "OLLAMA_NUM_PARALLEL": str(launch.plan.concurrency),
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NOPRUNE": "1",
        "SLIPWAY_MODELFILE": modelfile(launch),
    }
    if wished not in (None, "auto"):
        given |= {"OLLAMA_KV_CACHE_TYPE": str(wished), "OLLAMA_FLASH_ATTENTION": "1"}
    return given


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """It takes no arguments, and a Modelfile can't hold three quotes inside a system prompt."""
    engine = spec.engine or Engine()
    found = [
        problem(("spec", "engine", "args", name), "ollama takes no arguments", reasons.RESERVED_ARGUMENT)
        for name in engine.args or {}
    ]
    prompt = engine.generation.system_prompt if engine.generation else None
    if prompt and '"""' in prompt:
        where = ("spec", "engine", "generation", "systemPrompt")
        found.append(problem(where, f"ollama can't take three quotes in a row: {json.dumps(prompt)[:40]}"))
    return found


ENGINE = EngineDef(
    facts=EngineFacts(
        name="ollama",
        loads=dict.fromkeys((CPU, "nvidia", "amd"), (Loads("gguf"),)),
        architectures={CPU: BOTH, "nvidia": BOTH, "amd": AMD64},
        capabilities=frozenset(
            {*GGUF_CAPABILITIES, "system-prompt", "sampling-defaults", "kv-cache-q8_0", "kv-cache-q4_0"}
        ),
        rank=12,
    ),
    images={
        CPU: "docker.io/slipway/ollama:0.1.0",
        "nvidia": "docker.io/ollama/ollama:0.17.4",
        "amd": "docker.io/ollama/ollama:0.17.4-rocm",
    },
    port=PORT,
    metrics=Metrics(prefix="", running="", waiting="", prompt_tokens="", generated_tokens=""),
    reserved_args={},
    command=command,
    args=lambda launch: [launch.model_name, launch.model_file],
    env=env,
    # Ollama's own images have no curl.
    startup_probe=lambda launch: openai.startup_probe(launch, PORT, curl=False),
    health="/api/version",
    problems=problems,
    scratch="1Gi",
)
