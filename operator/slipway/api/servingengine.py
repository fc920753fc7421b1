"""ServingEngine v1alpha1: an engine of one's own, used like a built-in one; read by planner and manifests."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.base import Model, Quantity, Rule

PLACEHOLDERS = (
    "modelPath", "modelFile", "modelName", "port", "contextLength", "concurrency", "threads", "dtype",
    "tensorParallel", "pipelineParallel", "dataParallel", "devices", "gpuMemoryShare", "kvCacheDtype",
    "quantization", "loadFormat", "structuredOutput", "toolParser", "reasoningParser", "speculativeTokens",
    "speculativeWindow", "draftPath", "temperature", "topP", "topK", "maxTokens",
)  # fmt: skip
"""Names that arguments, command and environment may hold in braces."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z]+)\}")
ACCELERATORS = ("cpu", "nvidia", "amd", "intel", "gaudi", "ascend")

Argument = Annotated[str, Field(max_length=1024)]
Arguments = Annotated[list[Argument], Field(max_length=64)]
Route = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^/[^\s]*$")]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]


class EngineRequest(Model):
    """A request that the server answers only by generating one token (or one vector)."""

    path: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^/[^\s']*$")]
    """Route, asked by POST."""
    body: Annotated[str, Field(min_length=2, max_length=1024, pattern=r"^[^']*$")]
    """JSON without apostrophes; placeholders in braces are filled in."""
    expect: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^']*$")]
    """Extended regular expression that the answer holds when a token was generated."""


class EngineMetrics(Model):
    """Names of the engine's Prometheus metrics."""

    path: Route | None = None
    """Where they are served; default /metrics."""
    prefix: Annotated[str, Field(min_length=1, max_length=64)]
    """What every metric of this engine starts with."""
    running: Annotated[str, Field(max_length=128)] | None = None
    """Gauge of the requests generated now."""
    waiting: Annotated[str, Field(max_length=128)] | None = None
    """Gauge of the requests that wait."""
    prompt_tokens: Annotated[str, Field(max_length=128)] | None = None
    """Counter of prompt tokens."""
    generated_tokens: Annotated[str, Field(max_length=128)] | None = None
    """Counter of generated tokens."""
    ttft: Annotated[str, Field(max_length=128)] | None = None
    """Histogram of the time to the first token, seconds."""
    kv_use: Annotated[str, Field(max_length=128)] | None = None
    """Gauge of the KV cache in use, 0 to 1."""


METHOD = Literal["none", "fp8", "int8", "awq", "gptq", "compressed-tensors", "mxfp4", "nvfp4", "bnb", "gguf"]


class ServingEngineSpec(Model):
    """An inference server in a container: what it loads, how it is started, how it is asked.

    The container runs as user 65532 with a read-only root file system; /tmp is writable. The image has
    /bin/sh and curl, for the probes. Texts may hold placeholders in braces, such as {modelPath}, {modelName},
    {port}, {contextLength}, {concurrency}, {tensorParallel}: what plan or spec say is put in their place.
    """

    images: Annotated[dict[str, Image], Field(min_length=1, max_length=6)]
    """Accelerator to image; the engine runs on these alone."""
    architectures: Annotated[list[Literal["amd64", "arm64"]], Field(min_length=1, max_length=2)] | None = None
    """Node architectures that the images are built for; default amd64."""
    format: Literal["safetensors", "gguf"]
    """What it loads: a folder in Hugging Face's layout, or one GGUF file (placeholder {modelFile})."""
    methods: Annotated[list[METHOD], Field(min_length=1, max_length=16)] | None = None
    """Methods that it loads; default none (16 bits), for format gguf that alone."""
    at_load: Annotated[list[Literal["fp8", "int8", "bnb"]], Field(max_length=4)] | None = None
    """Methods among them that it applies itself to 16-bit weights (placeholder {quantization})."""
    command: Arguments | None = None
    """The container's command; absent keeps the image's."""
    args: Arguments
    """The container's arguments."""
    capabilities: Annotated[dict[str, Arguments], Field(max_length=32)] | None = None
    """What it can do beyond answering, to the arguments that are added when a spec asks for it:
    tensor-parallel, pipeline-parallel, data-parallel, memory-share, prefix-caching, chunked-prefill,
    kv-cache-fp8 (and other types), load-format, structured-output, tool-parser, reasoning-parser,
    speculative-ngram, speculative-draft, speculative-mlp and speculative-medusa (placeholder {draftPath}),
    sampling-defaults."""
    env: Annotated[dict[str, Argument], Field(max_length=64)] | None = None
    """The container's environment."""
    port: Annotated[int, Field(ge=1024, le=65535)] | None = None
    """TCP port of the OpenAI routes; default 8000."""
    health_path: Route | None = None
    """Route that answers 200 while the server lives; default /health."""
    request: EngineRequest | None = None
    """What one generated token is asked by; default OpenAI's completions route."""
    metrics: EngineMetrics
    """Names of its metrics."""
    scratch: Quantity | None = None
    """Size of /tmp; default 1Gi."""
    device_overhead: Quantity | None = None
    """Memory of each device beside weights, KV cache and activations; default 1Gi."""
    host_memory: Quantity | None = None
    """Node memory of a pod, for each device and once more; default 2Gi."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.images.all(key, key in {list(ACCELERATORS)})",
            holds=lambda spec: set(spec.images) <= set(ACCELERATORS),
            message=f"an accelerator is one of {', '.join(ACCELERATORS)}",
            field="images",
        ),
        Rule(
            cel="!has(self.methods) || self.methods.all(one, (one == 'gguf') == (self.format == 'gguf'))",
            holds=lambda spec: all((one == "gguf") == (spec.format == "gguf") for one in spec.methods or ()),
            message="method gguf goes with format gguf, every other with safetensors",
            field="methods",
        ),
    )


def unknown_placeholders(spec: ServingEngineSpec) -> list[str]:
    """Names in braces that nothing is put in place of, sorted."""
    texts = [*spec.args, *(spec.command or ()), *(spec.env or {}).values()]
    texts += [text for arguments in (spec.capabilities or {}).values() for text in arguments]
    texts += [spec.request.body or ""] if spec.request else []
    return sorted({name for text in texts for name in _PLACEHOLDER.findall(text)} - set(PLACEHOLDERS))
