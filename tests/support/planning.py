"""Models, nodes and specs for tests of planner and manifests; the models' figures are the published ones."""

from __future__ import annotations

from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.plan.facts import Gpu, ModelFacts, NodeFacts
from slipway.plan.quantities import quantity


def model(  # noqa: PLR0913, PLR0917 - a table below is made of it
    parameters: float,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    vocab: int,
    context: int,
) -> ModelFacts:
    """Facts of a 16-bit Llama-like model."""
    count = int(parameters)
    return ModelFacts(
        "LlamaForCausalLM", count, layers, hidden, heads, kv_heads, head_dim, vocab, context, "bfloat16",
        weight_bytes=2 * count, download_bytes=2 * count + 3_000_000,
    )  # fmt: skip


MODELS = {
    "smollm2-135m": model(134_515_008, 30, 576, 9, 3, 64, 49_152, 8192),
    "qwen2.5-0.5b": model(494_032_768, 24, 896, 14, 2, 64, 151_936, 32_768),
    "qwen2.5-1.5b": model(1_543_714_304, 28, 1536, 12, 2, 128, 151_936, 32_768),
    "llama3.2-3b": model(3_212_749_824, 28, 3072, 24, 8, 128, 128_256, 131_072),
    "llama-7b": model(6_738_415_616, 32, 4096, 32, 32, 128, 32_000, 4096),
    "llama3-8b": model(8_030_261_248, 32, 4096, 32, 8, 128, 128_256, 8192),
    "llama2-13b": model(13_015_864_320, 40, 5120, 40, 40, 128, 32_000, 4096),
    "qwen2.5-32b": model(32_763_876_352, 64, 5120, 40, 8, 128, 152_064, 32_768),
    "llama2-70b": model(68_976_648_192, 80, 8192, 64, 8, 128, 32_000, 4096),
}


def node(name: str, cpu: float, memory: str, architecture: str = "amd64", **more: Any) -> NodeFacts:
    """A ready node; ``memory`` is a quantity, ``labels`` come on top of the usual two."""
    labels = {"kubernetes.io/arch": architecture, "kubernetes.io/hostname": name, **more.pop("labels", {})}
    ready = more.pop("ready", True)
    return NodeFacts(
        name,
        architecture,
        cpu,
        int(quantity(memory)),
        100 * 1024**3,
        ready,
        tuple(sorted(labels.items())),
        **more,
    )


NODES = {
    "pi": node("pi", 4, "3800Mi", "arm64"),
    "local": node("local", 2, "24004Mi"),
    "laptop-8": node("laptop-8", 8, "7600Mi"),
    "laptop-16": node("laptop-16", 8, "15500Mi"),
    "server-64": node("server-64", 64, "500Gi"),
    "nano": node("nano", 1, "900Mi", "arm64"),
    "down": node("down", 64, "500Gi", ready=False),
    "tainted": node("tainted", 64, "500Gi", taints=("dedicated=models:NoSchedule",)),
    "gpu": node("gpu", 64, "500Gi", gpus=(Gpu("acme.com/gpu", 8),)),
    "riscv": node("riscv", 8, "60Gi", "riscv64"),
    "labelled": node("labelled", 8, "60Gi", labels={"pool": "models"}),
}


def spec(**fields: Any) -> ModelDeploymentSpec:
    """A valid spec; ``fields`` in wire names beside the model."""
    source = fields.pop("model", {"source": "hf://acme/model"})
    return ModelDeploymentSpec.model_validate({"model": source, **fields})


COMMIT = "2b7d9e1c4f8a3b6d5e0c9f8a7b6c5d4e3f2a1b0c"


def artifact(
    method: str = "gguf", level: str | None = "Q4_K_M", size: int = 105_000_000, **store: str
) -> dict[str, Any]:
    """A ModelArtifact as the API server returns it, as far as builders read it."""
    recipe = {"method": method} | ({"level": level} if level else {})
    source = {"uri": "hf://acme/model", "commit": COMMIT}
    body: dict[str, Any] = {"source": source, "recipe": recipe, "expectedBytes": size}
    return {"spec": body | ({"store": store} if store else {})}
