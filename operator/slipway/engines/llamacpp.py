"""llama.cpp's ``llama-server`` 0.7.0 (b11669): GGUF on CPU and on devices. Found by the package.

Intel's GPUs are served by Vulkan: one image for amd64 and arm64, a tenth of the size of SYCL's, and newer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slipway.api.modeldeployment import Engine, Generation, ModelDeploymentSpec
from slipway.api.validate import Problem
from slipway.engines.arguments import argument_problems, user_args
from slipway.engines.base import GGUF_CAPABILITIES, EngineDef, Launch, Metrics
from slipway.engines.chat import PREFIX_VARIABLE, WRITTEN_TEMPLATE, chat_prefix
from slipway.plan.facts import EngineFacts, Loads

PORT = 8080
ALL_LAYERS = 999
"""More layers than any model has: all of them go to the device."""
SERVER = "/usr/bin/llama-server"
DEVICE_SERVER = "/app/llama-server"
"""Where llama.cpp's own images for devices have it."""
MODEL_FILE = "model.gguf"
TEMPLATE_FILE = "chat_template.jinja"

STARTUP_PERIOD_SECONDS = 1
"""A look a second: a small model answers within one, and its first token should not wait for the probe."""
STARTUP_BASE_SECONDS = 120
STARTUP_BYTES_PER_SECOND = 20_000_000
"""The slowest volume of use (a shared spinning disk): all weights are read before the first token."""
TOKEN_BASE_SECONDS = 10
TOKEN_BYTES_PER_SECOND = 1_000_000_000
"""One token reads all weights once; 1 GB/s is a tenth of a Raspberry Pi 5's memory bandwidth."""
METRICS = Metrics(
    prefix="llamacpp:",
    running="llamacpp:requests_processing",
    waiting="llamacpp:requests_deferred",
    prompt_tokens="llamacpp:prompt_tokens_total",
    generated_tokens="llamacpp:tokens_predicted_total",
    drafted="llamacpp:spec_decode_num_draft_tokens_total",
    accepted="llamacpp:spec_decode_num_accepted_tokens_total",
)

GENERATION_PROBE = (
    "curl -fsS -m {seconds} -H 'Content-Type: application/json' "
    """-d '{{"prompt":"a","n_predict":1,"cache_prompt":false}}' """
    "http://127.0.0.1:{port}/completion | grep -q '\"tokens_predicted\":1'"
)
"""Needs one generated token of this very server; /health alone is not believed."""

PROLOGUE = f"""\
if [ ! -f "$1/{TEMPLATE_FILE}" ]; then
  echo "this model has no chat template: remove spec.engine.generation.systemPrompt" >&2
  exit 78
fi
printf '%s' "${PREFIX_VARIABLE}" | cat - "$1/{TEMPLATE_FILE}" > {WRITTEN_TEMPLATE} || exit 74
shift
exec "$@"
"""
"""Puts the system prompt before the model's own chat template, then becomes the server."""

SEEN = """\
found=$("$1" --list-devices 2>&1)
if ! printf '%s\\n' "$found" | grep -Eq '^ +[A-Za-z]+[0-9]+: '; then
  printf '%s\\n' "$found" >&2
  echo "error: llama.cpp sees no device: may user $(id -u) open /dev/dri/renderD*, which the device plugin \
gives? containerd hands it over with device_ownership_from_security_context" >&2
  exit 78
fi
exec "$@"
"""
"""Where Vulkan can open no device llama-server goes on with the CPU, and only its log says so."""

RESERVED: Mapping[str, str] = {
    **dict.fromkeys(("m", "model", "mu", "model-url", "dr", "docker-repo"), "spec.model.source"),
    **dict.fromkeys(("hf", "hfr", "hf-repo", "hff", "hf-file", "models-dir"), "spec.model.source"),
    **dict.fromkeys(("models-preset", "offline"), "spec.model.source"),
    **dict.fromkeys(("hft", "hf-token"), "spec.model.secretRef"),
    **dict.fromkeys(("a", "alias"), "spec.engine.servedModelName"),
    **dict.fromkeys(("c", "ctx-size", "kv-unified-per-slot"), "spec.engine.contextLength"),
    **dict.fromkeys(("np", "parallel"), "spec.engine.concurrency"),
    **dict.fromkeys(("kvu", "kv-unified", "no-kvu", "no-kv-unified"), "spec.engine.concurrency"),
    **dict.fromkeys(("t", "threads", "tb", "threads-batch"), "spec.engine.resources.cpu"),
    **dict.fromkeys(("cram", "cache-ram"), "spec.engine.resources.memory"),
    **dict.fromkeys(("temp", "temperature"), "spec.engine.generation.temperature"),
    "top-p": "spec.engine.generation.topP",
    "top-k": "spec.engine.generation.topK",
    **dict.fromkeys(("n", "predict", "n-predict"), "spec.engine.generation.maxTokens"),
    **dict.fromkeys(("ngl", "gpu-layers", "n-gpu-layers"), "spec.engine.gpuMemoryShare"),
    **dict.fromkeys(("fit", "fa", "flash-attn"), ""),
    **dict.fromkeys(("cache-prompt", "no-cache-prompt"), "spec.engine.prefixCaching"),
    **dict.fromkeys(
        ("spec-type", "spec-ngram-simple-size-n", "spec-ngram-simple-size-m"), "spec.engine.speculative"
    ),
    **dict.fromkeys(("spec-draft-model", "md", "model-draft", "spec-draft-n-max"), "spec.engine.speculative"),
    **dict.fromkeys(("spec-draft-hf", "hfd", "hfrd", "hf-repo-draft"), "spec.engine.speculative.draft"),
    **dict.fromkeys(("spec-draft-ngl", "ngld", "gpu-layers-draft"), "spec.engine.speculative"),
    **dict.fromkeys(("ctk", "cache-type-k", "ctv", "cache-type-v"), "spec.engine.kvCacheDtype"),
    **dict.fromkeys(("host", "port", "api-prefix", "reuse-port"), ""),
    **dict.fromkeys(("metrics", "ui", "webui", "no-ui", "no-webui", "jinja", "no-jinja"), ""),
    **dict.fromkeys(("api-key", "api-key-file", "ssl-key-file", "ssl-cert-file"), "spec.access.allowFrom"),
}
"""Arguments that Slipway sets, or that would break its probes, to the field to use instead (empty: none)."""

TEMPLATE_RESERVED = dict.fromkeys(
    ("chat-template", "chat-template-file"), "spec.engine.generation.systemPrompt, or the template, not both"
)
"""Set by Slipway when there is a system prompt."""


def command(launch: Launch) -> list[str]:
    """The server; behind a shell to look for its device, or to put a system prompt into the chat template."""
    device = launch.plan.accelerator
    server = [SERVER if device is None else DEVICE_SERVER]
    if device is not None and device.vendor == "intel":
        server = ["/bin/sh", "-c", SEEN, "seen", *server]
    if _generation(launch.spec).system_prompt is None:
        return server
    return ["/bin/sh", "-c", PROLOGUE, "prologue", launch.model_path, *server]


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last."""
    plan, generation = launch.plan, _generation(launch.spec)
    given = {
        "--model": launch.model_file,
        "--alias": launch.model_name,
        "--host": "0.0.0.0",  # noqa: S104 - a pod is reached from outside, and by its own probes
        "--port": str(PORT),
        # The context is shared out among the slots: each request gets the planned length.
        "--ctx-size": str(plan.context_length * plan.concurrency),
        "--parallel": str(plan.concurrency),
        "--threads": str(plan.threads),
        "--threads-batch": str(plan.threads),
        # The prompt cache in host memory (8 GiB by default) is not part of the planned memory.
        "--cache-ram": "0",
        **_device_args(launch),
        "--temp": generation.temperature,
        "--top-p": generation.top_p,
        "--top-k": _text(generation.top_k),
        "--n-predict": _text(generation.max_tokens),
        "--chat-template-file": WRITTEN_TEMPLATE if generation.system_prompt is not None else None,
    }
    flags = ["--no-kv-unified", "--metrics", "--jinja", "--no-webui", "--offline"]
    caching = launch.spec.engine.prefix_caching if launch.spec.engine else None
    flags += [] if caching is None else ["--cache-prompt" if caching else "--no-cache-prompt"]
    valued = [part for name, value in given.items() if value is not None for part in (name, value)]
    return [*valued, *flags, *user_args(launch.spec)]


def _device_args(launch: Launch) -> dict[str, str | None]:
    """Layers on the device, the type of the KV cache, guesses."""
    plan, engine = launch.plan, launch.spec.engine or Engine()
    on_device = plan.accelerator is not None
    dtype = None if engine.kv_cache_dtype in (None, "auto") else engine.kv_cache_dtype
    return {
        "--n-gpu-layers": str(plan.gpu_layers or ALL_LAYERS) if on_device else None,
        # The plan has fitted everything; the server would shrink what it was not told.
        "--fit": "off" if on_device else None,
        "--cache-type-k": dtype,
        "--cache-type-v": dtype,
        # Values of fewer bits can't be read without it.
        "--flash-attn": "on" if dtype else None,
        **_speculative(launch),
    }


def _speculative(launch: Launch) -> dict[str, str | None]:
    """Guesses; ``--draft-max`` and its kin still stand in the help, and end the server."""
    if launch.ngram is not None:
        return {
            "--spec-type": "ngram-simple",
            "--spec-ngram-simple-size-n": str(launch.ngram.longest_run),
            "--spec-ngram-simple-size-m": str(launch.guessed),
        }
    if launch.draft is None:
        return {}
    return {
        "--spec-type": "draft-simple",
        "--spec-draft-model": f"{launch.draft.path}/{MODEL_FILE}",
        "--spec-draft-n-max": str(launch.guessed),
        "--spec-draft-ngl": str(ALL_LAYERS) if launch.plan.accelerator is not None else None,
    }


def env(launch: Launch) -> dict[str, str]:
    """HOME on the writable volume; the chat prefix when there is a system prompt."""
    prompt = _generation(launch.spec).system_prompt
    prefix = {} if prompt is None else {PREFIX_VARIABLE: chat_prefix(prompt)}
    return {"HOME": "/tmp", **prefix}  # noqa: S108 - the pod's own emptyDir


def startup_probe(launch: Launch) -> dict[str, Any]:
    """One generated token inside the pod; the budget grows with the weights."""
    weights = launch.plan.memory.weights
    budget = STARTUP_BASE_SECONDS + weights / STARTUP_BYTES_PER_SECOND
    seconds = TOKEN_BASE_SECONDS + math.ceil(weights / TOKEN_BYTES_PER_SECOND)
    probe = GENERATION_PROBE.format(seconds=seconds, port=PORT)
    return {
        "exec": {"command": ["/bin/sh", "-c", probe]},
        "periodSeconds": STARTUP_PERIOD_SECONDS,
        "timeoutSeconds": seconds + 1,
        "failureThreshold": math.ceil(budget / STARTUP_PERIOD_SECONDS),
    }


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, or that are not written as names."""
    return argument_problems(spec, RESERVED, TEMPLATE_RESERVED)


def _generation(spec: ModelDeploymentSpec) -> Generation:
    return (spec.engine.generation if spec.engine else None) or Generation()


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


BOTH = frozenset({"amd64", "arm64"})
GGUF = (Loads("gguf"),)
ENGINE = EngineDef(
    facts=EngineFacts(
        name="llamacpp",
        loads={"cpu": GGUF, "nvidia": GGUF, "amd": GGUF, "intel": GGUF},
        architectures={
            "cpu": BOTH,
            "nvidia": BOTH,
            "amd": frozenset({"amd64"}),
            "intel": BOTH,
        },
        capabilities=frozenset(
            {
                *GGUF_CAPABILITIES,
                "system-prompt",
                "sampling-defaults",
                "memory-share",
                "kv-cache-q8_0",
                "kv-cache-q4_0",
                "pipeline-parallel",
                "prefix-caching",
                "speculative-ngram",
                "speculative-draft",
            }
        ),
        goals=frozenset({"", "throughput", "latency", "cost", "quality"}),
        splits=True,
        rank=2,
    ),
    images={
        "cpu": "",
        "nvidia": "ghcr.io/ggml-org/llama.cpp:server-cuda-b11382",
        "amd": "ghcr.io/ggml-org/llama.cpp:server-rocm-b11277",
        "intel": "ghcr.io/ggml-org/llama.cpp:server-vulkan-b11515",
    },
    port=PORT,
    metrics=METRICS,
    reserved_args=RESERVED,
    command=command,
    args=args,
    env=env,
    startup_probe=startup_probe,
    problems=problems,
)
