"""Text Generation Inference 3.3, its last release: safetensors on GPUs. By name only.

It has no served name: requests may ask for any, and ``/v1/models`` shows the folder. The name of an adapter
asks for that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.api.validate import Problem, problem
from slipway.engines import openai
from slipway.engines.arguments import argument_problems, flags, user_args
from slipway.engines.base import EngineDef, Launch, Metrics, Mounted
from slipway.engines.offline import OFFLINE
from slipway.plan.facts import EngineFacts, Loads
from slipway.plan.quantities import GIB

PORT: Final = 8000
QUEUE: Final = 128
"""Requests that may wait and run, the launcher's own default; it refuses more."""
AT_LOAD: Final[Mapping[str, str]] = {"fp8": "fp8", "bnb": "bitsandbytes-nf4"}
"""Methods that it applies to 16-bit weights while it loads them, to its ``--quantize``."""
ONE_TOKEN: Final = (
    "/generate",
    '{{"inputs":"a","parameters":{{"max_new_tokens":1,"details":true}}}}',
    '"generated_tokens": ?1',
)
AMD64: Final = frozenset({"amd64"})

HEADS: Final = "/tmp/heads"  # noqa: S108 - the pod's own emptyDir
GATHER: Final = f"""\
mkdir -p {HEADS} || exit 74
for file in "$1"/*; do
  case "$file" in *.safetensors* | */config.json) ;; *) ln -sfn "$file" {HEADS}/ || exit 74 ;; esac
done
ln -sfn "$2"/*.safetensors {HEADS}/ || exit 74
tr '\\n' ' ' < "$2/config.json" | sed 's#}} *$#,"base_model_name_or_path":"'"$1"'"}}#' > {HEADS}/config.json
shift 2
exec "$@"
"""
"""Puts heads and the model's tokenizer into one folder.

It is told of heads by their own folder, whose config.json names the model; the last of two names counts.
"""

RESERVED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("model-id", "revision", "huggingface-hub-cache"), "spec.model.source"),
    "trust-remote-code": "spec.model.trustRemoteCode",
    **dict.fromkeys(("weights-cache-override", "usage-stats"), ""),
    **dict.fromkeys(("hostname", "port", "p", "ngrok", "ngrok-authtoken", "ngrok-edge", "env", "e"), ""),
    "api-key": "spec.access.allowFrom",
    **dict.fromkeys(
        ("max-total-tokens", "max-input-tokens", "max-input-length"), "spec.engine.contextLength"
    ),
    "max-batch-prefill-tokens": "spec.engine.contextLength",
    **dict.fromkeys(("max-batch-size", "max-concurrent-requests"), "spec.engine.concurrency"),
    "cuda-memory-fraction": "spec.engine.gpuMemoryShare",
    **dict.fromkeys(("num-shard", "sharded"), "spec.engine.tensorParallel"),
    **dict.fromkeys(("dtype", "quantize"), "spec.optimize.method"),
    "kv-cache-dtype": "spec.engine.kvCacheDtype",
    "speculate": "spec.engine.speculative",
    "lora-adapters": "spec.model.adapters",
}
"""Arguments that Slipway sets, or that would break its probes, to the field to use instead (empty: none)."""


def _heads(launch: Launch) -> Mounted | None:
    return launch.draft if launch.draft and launch.draft.kind == "mlp" else None


def command(launch: Launch) -> list[str]:
    """The image's own: it sets paths of libraries and becomes the launcher. Heads are gathered first."""
    own, heads = ["/tgi-entrypoint.sh"], _heads(launch)
    return ["/bin/sh", "-c", GATHER, "gather", launch.model_path, heads.path, *own] if heads else own


def args(launch: Launch) -> list[str]:
    """Arguments from plan and spec; those of the user come last."""
    plan, engine = launch.plan, launch.spec.engine or Engine()
    device, shards = plan.accelerator, plan.parallel.tensor
    given: dict[str, str | int | None] = {
        "--model-id": HEADS if _heads(launch) else launch.model_path,
        "--hostname": "0.0.0.0",  # noqa: S104 - a pod is reached from outside, and by its own probes
        "--port": PORT,
        "--max-total-tokens": plan.context_length,
        # The launcher wants room for one token of an answer, and a batch that holds the longest prompt.
        "--max-input-tokens": plan.context_length - 1,
        "--max-batch-prefill-tokens": plan.context_length,
        "--max-batch-size": plan.concurrency,
        "--max-concurrent-requests": max(QUEUE, 2 * plan.concurrency),
        # Without it all devices that it sees are taken.
        "--num-shard": shards,
        "--sharded": "true" if shards > 1 else "false",
        # The launcher refuses both at once.
        "--dtype": None if plan.at_load else plan.dtype or None,
        "--quantize": AT_LOAD[plan.method] if plan.at_load else None,
        "--cuda-memory-fraction": f"{device.share / 100:g}" if device else None,
        "--kv-cache-dtype": "fp8_e4m3fn" if engine.kv_cache_dtype == "fp8" else None,
        "--speculate": launch.guessed if launch.ngram or _heads(launch) else None,
        # The name of a request's model chooses; one that is none of these is the base.
        "--lora-adapters": ",".join(one.pair for one in launch.adapters) or None,
        "--usage-stats": "off",
    }
    trusted = ["--trust-remote-code"] if launch.trusts_code else []
    return [*flags(given), *trusted, *user_args(launch.spec)]


def env(_launch: Launch) -> dict[str, str]:
    """Caches on the writable volume, no hub."""
    return {
        **OFFLINE,
        # The image names folders below /data, which nobody mounts.
        "HF_HOME": "/tmp/hf",  # noqa: S108 - the same emptyDir
        "HUGGINGFACE_HUB_CACHE": "/tmp/hf/hub",  # noqa: S108 - the same
    }


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Arguments that Slipway sets itself, and the one figure of guessing that it lets nobody choose."""
    found = argument_problems(spec, RESERVED)
    guess = (spec.engine or Engine()).speculative
    if guess is not None and guess.window is not None:
        where = ("spec", "engine", "speculative", "window")
        found.append(
            problem(where, "tgi chooses itself how long a run of words it looks for: leave out window")
        )
    return found


ENGINE = EngineDef(
    facts=EngineFacts(
        name="tgi",
        loads={
            "nvidia": (
                Loads("none", 7.5), Loads("fp8", 8.9, at_load=True), Loads("awq", 8.0), Loads("gptq", 8.0),
                Loads("compressed-tensors", 8.0), Loads("bnb", 7.5, at_load=True),
            ),
            "amd": (Loads("none"), Loads("awq"), Loads("gptq")),
            "intel": (Loads("none"),),
            "gaudi": (Loads("none"),),
        },
        architectures={"nvidia": AMD64, "amd": AMD64, "intel": AMD64, "gaudi": AMD64},
        capabilities=frozenset({
            "remote-code",
            "tensor-parallel", "memory-share", "speculative-ngram", "speculative-mlp", "adapters",
            "kv-cache-fp8",
        }),
        modalities=frozenset({"text", "multimodal"}),
        rank=6,
        overhead=round(1.5 * GIB),
        host_memory=3 * GIB,
    ),
    images={
        "nvidia": "ghcr.io/huggingface/text-generation-inference:3.3.7",
        "amd": "ghcr.io/huggingface/text-generation-inference:3.3.5-rocm",
        "intel": "ghcr.io/huggingface/text-generation-inference:3.3.5-intel-xpu",
        "gaudi": "ghcr.io/huggingface/text-generation-inference:3.3.5-gaudi",
    },
    port=PORT,
    metrics=Metrics(
        prefix="tgi_",
        running="tgi_batch_current_size",
        waiting="tgi_queue_size",
        # Sums of histograms, which count up as counters do.
        prompt_tokens="tgi_request_input_length_sum",
        generated_tokens="tgi_request_generated_tokens_sum",
    ),
    reserved_args=RESERVED,
    command=command,
    args=args,
    env=env,
    startup_probe=lambda launch: openai.answer_probe(launch, PORT, ONE_TOKEN),
    problems=problems,
    scratch="8Gi",
)  # fmt: skip
