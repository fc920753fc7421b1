"""Plans on real GPU nodes, as a table: who has which machines, and what they get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from slipway.engines import ENGINES, decide
from slipway.errors import InvalidSpecError, NothingFitsError
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts
from slipway.plan.memory import file_bytes
from slipway.plan.methods import METHODS, weight_bytes
from slipway.plan.nodes import node_facts
from slipway.settings import Images, NodePool, Settings
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import MODELS, model, spec

SHARED = {"accessMode": "ReadWriteMany"}
"""A store that every node reads."""
GGUF_ALONE = Settings(methods=("gguf",))
"""With Jobs that make GGUF alone."""
WHOLE = Settings()
"""With Jobs for every method of the tree, and a workload for replicas of several nodes."""
TRT = replace(
    WHOLE, images=Images(engines=(("tensorrt-llm/nvidia", "nvcr.io/nvidia/tensorrt-llm/release:1"),))
)
BIG = {
    "llama3-405b": model(405e9, 126, 16384, 128, 8, 128, 128_256, 131_072),
    "deepseek-671b": replace(
        model(671e9, 61, 7168, 128, 128, 128, 129_280, 163_840),
        quantization="fp8", weight_bytes=689 * 10**9, active_parameters=37 * 10**9, experts=256,
        kv_elements=61 * 576,
    ),
    "mixtral-8x7b": replace(
        model(46.7e9, 32, 4096, 32, 8, 128, 32_000, 32_768), active_parameters=int(12.9e9), experts=8
    ),
    "llama3-8b-awq": replace(
        MODELS["llama3-8b"], quantization="awq", weight_bytes=5_730_000_000
    ),
    "llama3-8b-gptq": replace(MODELS["llama3-8b"], quantization="gptq", weight_bytes=5_740_000_000),
    "gpt-oss-20b": replace(
        model(20.9e9, 24, 2880, 64, 8, 64, 201_088, 131_072), quantization="mxfp4",
        weight_bytes=13_760_000_000, active_parameters=int(3.6e9), experts=32,
    ),
    "bge-m3": replace(
        model(568e6, 24, 1024, 16, 16, 64, 250_002, 8192), modality="embedding", convertible=False
    ),
    "qwen-vl-7b": replace(
        model(8.29e9, 28, 3584, 28, 4, 128, 152_064, 128_000), modality="multimodal", convertible=False
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row; ``devices`` is how many a replica takes, ``how`` what Jobs can make."""

    model: str
    nodes: str
    plan: str
    devices: int = 1
    spec: Any = None
    how: Settings = WHOLE
    pods: int = 1


def goal(name: str) -> dict[str, Any]:
    return {"optimize": {"goal": name}}


def engine(**fields: Any) -> dict[str, Any]:
    return {"engine": fields}


CASES = {
    # No GPU.
    "pi 4 GB, 3B": Case("llama3.2-3b", "raspberry-pi-4", "llamacpp gguf Q4_K_M", 0),
    "laptop 16 GB, 7B": Case("llama-7b", "laptop-16gb", "llamacpp gguf Q4_K_M", 0),
    "laptop 16 GB, 7B, quality": Case(
        "llama-7b", "laptop-16gb", "llamacpp gguf Q8_0", 0, goal("quality")
    ),
    "server, 32B": Case("qwen2.5-32b", "m7i-4xlarge", "llamacpp gguf Q4_K_M", 0),
    # Ada laptop with 8 GB: GGUF on CUDA.
    "rtx 8 GB, 3B": Case("llama3.2-3b", "rtx-4060-laptop", "llamacpp gguf Q5_K_M"),
    "rtx 8 GB, 7B": Case("llama-7b", "rtx-4060-laptop", "llamacpp gguf Q5_K_M"),
    "rtx 8 GB, 8B": Case("llama3-8b", "rtx-4060-laptop", "llamacpp gguf Q5_K_M"),
    "rtx 8 GB, 13B, some layers": Case("llama2-13b", "rtx-4060-laptop", "llamacpp gguf Q4_K_M"),
    # Turing: no bfloat16, no FP8.
    "t4, tiny": Case("smollm2-135m", "t4", "vllm none F16"),
    "t4, 3B": Case("llama3.2-3b", "t4", "vllm none F16"),
    "t4, 7B": Case("llama-7b", "t4", "vllm int8 W8A8"),
    "t4, 7B, GGUF alone": Case("llama-7b", "t4", "llamacpp gguf Q5_K_M", how=GGUF_ALONE),
    "t4, 8B, throughput": Case("llama3-8b", "t4", "vllm awq W4A16", spec=goal("throughput")),
    "t4, 13B": Case("llama2-13b", "t4", "vllm awq W4A16"),
    "t4, 13B, GGUF alone": Case("llama2-13b", "t4", "llamacpp gguf Q5_K_M", how=GGUF_ALONE),
    "2 x t4, 7B, 16 bits asked for": Case(
        "llama-7b", "t4:2", "vllm none F16", 2, {"optimize": {"method": "none"}}
    ),
    # Ampere: bfloat16 and INT8, no FP8.
    "a10g, 8B": Case("llama3-8b", "a10g", "vllm none BF16"),
    "a10g, 13B": Case("llama2-13b", "a10g", "vllm int8 W8A8"),
    "a10g, 13B, GGUF alone": Case("llama2-13b", "a10g", "llamacpp gguf Q5_K_M", how=GGUF_ALONE),
    "4 x a10g, 32B": Case("qwen2.5-32b", "a10g:4", "vllm none BF16", 4),
    "a100 40, 13B": Case("llama2-13b", "a100-40gb", "vllm none BF16"),
    "a100 80, 8B, throughput": Case("llama3-8b", "a100-80gb", "vllm awq W4A16", spec=goal("throughput")),
    "a100 80, 8B, throughput, GGUF alone": Case(
        "llama3-8b", "a100-80gb", "vllm none BF16", spec=goal("throughput"), how=GGUF_ALONE
    ),
    "a100 80, 32B": Case("qwen2.5-32b", "a100-80gb", "vllm none BF16"),
    "a100 80, 70B": Case("llama2-70b", "a100-80gb", "vllm none BF16", 2),
    "one a100 80, 70B": Case("llama2-70b", "a100-80gb:1", "vllm int8 W8A8"),
    "one a100 40, 70B": Case("llama2-70b", "a100-40gb:1", "llamacpp gguf Q5_K_M"),
    "two a100 40, 70B": Case("llama2-70b", "a100-40gb:2", "vllm int8 W8A8", 2),
    "two a100 40, 70B, 4 bits asked for": Case(
        "llama2-70b", "a100-40gb:2", "vllm awq W4A16", 2, {"optimize": {"level": "W4A16"}}
    ),
    "a100 80, 405B": Case("llama3-405b", "a100-80gb", "vllm int8 W8A8", 8),
    "two nodes a100 80, 405B": Case("llama3-405b", "a100-80gb a100-80gb", "vllm int8 W8A8", 8),
    "a100 MIG 1g, 3B": Case("llama3.2-3b", "a100-80gb-mig-single", "vllm none BF16"),
    "a100 MIG mixed, 13B takes the 3g slice": Case("llama2-13b", "a100-80gb-mig-mixed", "vllm none BF16"),
    "a100 MIG, slices do not join": Case("llama2-70b", "a100-80gb-mig-mixed", "llamacpp gguf Q4_K_M"),
    # Ada and Hopper: FP8.
    "l4, 8B": Case("llama3-8b", "l4", "vllm fp8 FP8"),
    "l4, 13B": Case("llama2-13b", "l4", "vllm fp8 FP8"),
    "l4, 32B": Case("qwen2.5-32b", "l4", "llamacpp gguf Q5_K_M", how=GGUF_ALONE),
    "l4 of gke without feature discovery": Case("llama3-8b", "gke-l4", "vllm fp8 FP8"),
    "l4 shared by time, 3B": Case("llama3.2-3b", "l4-time-slicing", "llamacpp gguf Q5_K_M"),
    "t4 shared by MPS, tiny": Case("smollm2-135m", "t4-mps", "llamacpp gguf Q5_K_M"),
    "l40s, 32B": Case("qwen2.5-32b", "l40s", "vllm fp8 FP8"),
    "l40s, 70B": Case("llama2-70b", "l40s", "vllm awq W4A16"),
    "4 x l40s, 70B": Case("llama2-70b", "l40s:4", "vllm fp8 FP8", 2),
    "rtx 4090, 13B": Case("llama2-13b", "rtx-4090", "vllm fp8 FP8"),
    "rtx 4090, 32B": Case("qwen2.5-32b", "rtx-4090", "vllm awq W4A16"),
    "h100, 8B": Case("llama3-8b", "h100", "vllm fp8 FP8"),
    "h100, 8B, quality": Case("llama3-8b", "h100", "vllm none BF16", spec=goal("quality")),
    "h100, 8B, latency": Case("llama3-8b", "h100", "vllm awq W4A16", spec=goal("latency")),
    "h100, 8B, latency, GGUF alone": Case(
        "llama3-8b", "h100", "vllm fp8 FP8", spec=goal("latency"), how=GGUF_ALONE
    ),
    "h100, 70B": Case("llama2-70b", "h100", "vllm fp8 FP8"),
    "h100, 70B, quality": Case("llama2-70b", "h100", "vllm none BF16", 2, goal("quality")),
    "h100, 70B, longest context of many": Case(
        "llama2-70b", "h100", "vllm fp8 FP8", 4, engine(concurrency=64)
    ),
    "h100, 405B": Case("llama3-405b", "h100", "vllm fp8 FP8", 8),
    "two nodes h100, 405B in 16 bits": Case(
        "llama3-405b", "h100 h100", "vllm none BF16", 16, {"optimize": {"method": "none"}}, pods=2
    ),
    "two nodes h100, deepseek": Case("deepseek-671b", "h100 h100", "vllm fp8 FP8", 16, pods=2),
    "h200, deepseek": Case("deepseek-671b", "h200", "vllm fp8 FP8", 8),
    "h100, mixture": Case("mixtral-8x7b", "h100", "vllm fp8 FP8"),
    "gh200, arm64": Case("llama3-8b", "gh200", "vllm fp8 FP8"),
    "b200, 70B": Case("llama2-70b", "b200", "vllm fp8 FP8"),
    # Models that come quantised.
    "l4, comes as awq": Case("llama3-8b-awq", "l4", "vllm awq W4A16", how=GGUF_ALONE),
    "t4, comes as gptq": Case("llama3-8b-gptq", "t4", "vllm gptq W4A16", how=GGUF_ALONE),
    "h100, comes as mxfp4": Case("gpt-oss-20b", "h100", "vllm mxfp4 MXFP4", how=GGUF_ALONE),
    # Other vendors.
    "mi210, 8B": Case("llama3-8b", "mi210", "vllm none BF16"),
    "mi300x, 70B": Case("llama2-70b", "mi300x", "vllm fp8 FP8"),
    "mi300x, 405B": Case("llama3-405b", "mi300x", "vllm fp8 FP8", 4),
    "arc a770, 3B": Case("llama3.2-3b", "arc-a770", "vllm none BF16"),
    "arc a770, 8B, GGUF alone": Case("llama3-8b", "arc-a770", "llamacpp gguf Q5_K_M", how=GGUF_ALONE),
    "arc a770 on arm64, 8B: Vulkan alone": Case("llama3-8b", "arc-a770-arm64", "llamacpp gguf Q5_K_M"),
    "arc b580, 8B, GGUF alone": Case("llama3-8b", "arc-b580", "llamacpp gguf Q5_K_M", how=GGUF_ALONE),
    "flex 170, 8B, llama.cpp asked for": Case(
        "llama3-8b", "flex-170", "llamacpp gguf Q5_K_M", spec=engine(name="llamacpp")
    ),
    "arc b580, 8B": Case("llama3-8b", "arc-b580", "vllm awq W4A16"),
    "max 1550, 32B": Case("qwen2.5-32b", "max-1550", "vllm none BF16"),
    "flex 170, 7B": Case("llama-7b", "flex-170", "vllm none BF16", 2),
    "gaudi 2, 8B": Case("llama3-8b", "gaudi2", "vllm fp8 FP8"),
    "gaudi 3, 70B": Case("llama2-70b", "gaudi3", "vllm fp8 FP8"),
    "ascend 910B, 8B": Case("llama3-8b", "ascend-910b", "vllm none BF16"),
    "ascend 910B, 70B": Case("llama2-70b", "ascend-910b", "vllm none BF16", 4),
    # Other kinds of models.
    "embedding": Case("bge-m3", "l4", "vllm fp8 FP8", how=GGUF_ALONE),
    "multimodal": Case("qwen-vl-7b", "a10g", "vllm none BF16", how=GGUF_ALONE),
    # Mixed nodes: the same level on the smaller device; GPU before CPU.
    "h100 and l4, 8B": Case("llama3-8b", "h100 l4", "vllm fp8 FP8 NVIDIA-L4"),
    "h100 and l4, 70B": Case("llama2-70b", "h100 l4", "vllm fp8 FP8 NVIDIA-H100-80GB-HBM3"),
    "t4 and m7i, 13B": Case("llama2-13b", "t4 m7i-4xlarge", "vllm awq W4A16 Tesla-T4"),
    "pi and l4, tiny": Case("smollm2-135m", "raspberry-pi-4 l4", "vllm fp8 FP8 NVIDIA-L4"),
    "unlabelled and l4": Case("llama3-8b", "nvidia-unlabelled l4", "vllm fp8 FP8 NVIDIA-L4"),
    "unlabelled alone: its cores": Case("llama3-8b", "nvidia-unlabelled", "llamacpp gguf Q4_K_M", 0),
    # What the spec fixes.
    "llama.cpp asked for on h100": Case(
        "llama3-8b", "h100", "llamacpp gguf Q5_K_M", spec=engine(name="llamacpp")
    ),
    "llama.cpp in 16 bits on l4": Case(
        "llama3.2-3b", "l4", "llamacpp none F16",
        spec={"engine": {"name": "llamacpp"}, "optimize": {"method": "none"}},
    ),
    "a level of GGUF on l4": Case(
        "llama3-8b", "l4", "llamacpp gguf Q6_K", spec={"optimize": {"level": "Q6_K"}}
    ),
    "tensor parallel asked for": Case("llama3-8b", "h100", "vllm fp8 FP8", 4, engine(tensorParallel=4)),
    "pipeline parallel asked for": Case(
        "llama3-8b", "a100-80gb", "vllm none BF16", 2, engine(pipelineParallel=2, tensorParallel=1)
    ),
    "data parallel asked for": Case("llama3-8b", "h100", "vllm fp8 FP8", 2, engine(dataParallel=2)),
    "vllm on CPU asked for": Case("smollm2-135m", "m7i-4xlarge", "vllm none BF16", 0, engine(name="vllm")),
}  # fmt: skip


def facts_of(name: str) -> ModelFacts:
    return BIG.get(name) or MODELS[name]


def decided(names: str, facts: ModelFacts, settings: Settings = WHOLE, **fields: Any) -> Plan:
    nodes = []
    for index, word in enumerate(names.split()):
        kind, _, count = word.partition(":")
        nodes.append(node_facts(gpu_node(kind, f"{kind}-{index}", int(count or 0))))
    return decide(spec(**{"store": SHARED, **fields}), facts, nodes, settings)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_table(case: Case) -> None:
    found = decided(case.nodes, facts_of(case.model), case.how, **(case.spec or {}))
    device = found.accelerator
    words = [found.engine, found.method, found.level]
    wanted = case.plan.split()
    if len(wanted) > len(words):
        words.append(device.product if device else "")
    assert words == wanted
    assert (device.count * found.parallel.pods if device else 0) == case.devices
    assert found.parallel.pods == case.pods
    assert found.form == ("gguf" if found.engine == "llamacpp" else "safetensors")
    assert found.level in found.reason


def test_the_table_is_large_enough() -> None:
    assert len(CASES) >= 60


REFUSED = {
    "nothing fits, the device is named": ("l4", "llama3-405b", {}, "NothingFits", "NVIDIA-L4"),
    "FP8 without units": (
        "a100-80gb", "llama3-8b", {"optimize": {"method": "fp8"}}, "NothingFits", "no FP8 units"
    ),
    "an engine without the method": (
        "a100-80gb", "llama3-8b", {"engine": {"name": "vllm"}, "optimize": {"method": "gguf"}},
        "InvalidSpec", "vllm can't load gguf",
    ),
    "an engine that can't load the format": (
        "l4", "llama3-8b-awq", {"engine": {"name": "llamacpp"}}, "InvalidSpec", "llamacpp can't load awq",
    ),
    "vendor unknown": (
        "acme", "llama3-405b", {}, "NothingFits", "acme.com/gpu: its vendor is not known",
    ),
    "labels missing": (
        "nvidia-unlabelled", "llama3-8b", {"engine": {"name": "vllm", "tensorParallel": 2}},
        "NothingFits", "install GPU feature discovery",
    ),
    "tensor parallel divides no heads": (
        "h100", "llama3-8b", {"engine": {"tensorParallel": 3}}, "InvalidSpec", "use one of: 1, 2, 4, 8",
    ),
    "more devices than a node has": (
        "l4", "llama3-8b", {"engine": {"name": "vllm", "tensorParallel": 8}}, "NothingFits",
        "tensor parallel 8",
    ),
    "context beyond the model's": (
        "h100", "llama3-8b", {"engine": {"contextLength": 100_000}}, "InvalidSpec", "own limit of 8192",
    ),
    "a type of KV cache that no engine has": (
        "h100", "llama3-8b", {"engine": {"name": "vllm", "kvCacheDtype": "q8_0"}}, "InvalidSpec",
        "it has fp8",
    ),
    "larger than every node": (
        "h100", "llama3-405b", {"optimize": {"method": "none"}}, "NothingFits", "NVIDIA-H100",
    ),
    "an embedding model without a device": (
        "laptop-16gb", "bge-m3", {}, "UnsupportedArchitecture", "Name an engine",
    ),
    "a taint of one's own": ("tainted", "llama3-8b", {}, "NothingFits", "taint team=a:NoSchedule is not"),
    "Apple silicon": ("mac", "llama3-8b", {}, "NothingFits", "slipway export"),
}  # fmt: skip


@pytest.mark.parametrize(("names", "name", "fields", "reason", "words"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_planned_is_said(names: str, name: str, fields: Any, reason: str, words: str) -> None:
    strange = {
        "acme": foreign(gpu_node("laptop-16gb", "acme"), "acme.com/gpu"),
        "tainted": tainted(gpu_node("l4", "tainted"), "team", "a"),
        "mac": on_darwin(gpu_node("laptop-16gb", "mac")),
    }
    node = node_facts(strange.get(names) or gpu_node(names, names))
    with pytest.raises(InvalidSpecError) as caught:
        decide(spec(**fields), facts_of(name), [node], WHOLE)
    assert (caught.value.reason, words in caught.value.message) == (reason, True), caught.value.message


def foreign(raw: dict[str, Any], resource: str) -> dict[str, Any]:
    raw["status"]["allocatable"][resource] = "4"
    return raw


def tainted(raw: dict[str, Any], key: str, value: str) -> dict[str, Any]:
    raw["spec"].setdefault("taints", []).append({"key": key, "value": value, "effect": "NoSchedule"})
    return raw


def on_darwin(raw: dict[str, Any]) -> dict[str, Any]:
    raw["metadata"]["labels"]["kubernetes.io/os"] = "darwin"
    return raw


ANCHORS = {
    # parameters, method or level, GB published, tolerance
    "6.7B fp16": ("llama-7b", "F16", 13.5), "6.7B Q8_0": ("llama-7b", "Q8_0", 7.2),
    "6.7B Q6_K": ("llama-7b", "Q6_K", 5.5), "6.7B Q5_K_M": ("llama-7b", "Q5_K_M", 4.8),
    "6.7B Q4_K_M": ("llama-7b", "Q4_K_M", 4.1), "6.7B Q4_0": ("llama-7b", "Q4_0", 3.8),
    "6.7B Q3_K_M": ("llama-7b", "Q3_K_M", 3.3), "6.7B Q2_K": ("llama-7b", "Q2_K", 2.8),
    "70B Q4_K_M": ("llama2-70b", "Q4_K_M", 40.0),
    "70B fp16": ("llama2-70b", "none", 140.0), "70B INT8": ("llama2-70b", "int8", 70.0),
    "70B INT4": ("llama2-70b", "awq", 35.0),
}  # fmt: skip


@pytest.mark.parametrize(("name", "how", "published"), ANCHORS.values(), ids=ANCHORS)
def test_sizes_are_the_published_ones(name: str, how: str, published: float) -> None:
    facts = MODELS[name]
    size = weight_bytes(facts, how) if how in METHODS else file_bytes(facts, how)
    assert size / 1e9 == pytest.approx(published, rel=0.08)  # 68.98 billion parameters are called 70B


MEMORY_NEEDED = {"llama3.2-3b": (6, 8), "llama-7b": (16, 24), "llama2-13b": (28, 40), "qwen2.5-32b": (64, 96)}
"""GiB of device memory that the field's tables name for 16 bits."""


@pytest.mark.parametrize("name", MEMORY_NEEDED)
def test_16_bits_fit_what_the_fields_tables_name_and_no_less(name: str) -> None:
    least, most = MEMORY_NEEDED[name]
    alone = {"optimize": {"method": "none"}, "engine": {"name": "vllm", "concurrency": 1}}
    assert needed_gib(name, alone) == pytest.approx((least + most) / 2, abs=(most - least) / 2 + 1)


def needed_gib(name: str, fields: dict[str, Any]) -> int:
    """The smallest device in whole GiB that holds the model."""
    for gib in range(1, 200):
        raw = gpu_node("h100", "h", 1)
        raw["metadata"]["labels"]["nvidia.com/gpu.memory"] = str(gib * 1024)
        try:
            decide(spec(**fields), MODELS[name], [node_facts(raw)], WHOLE)
        except NothingFitsError:
            continue
        return gib
    raise AssertionError("fits nowhere")


def test_int4_wants_six_tenths_of_a_gigabyte_a_billion() -> None:
    for name in ("llama-7b", "llama2-13b", "llama2-70b"):
        fields = {"optimize": {"method": "none"}, "engine": {"name": "vllm", "concurrency": 1}}
        assert needed_gib(name, fields) * 2**30 >= 1.2 * 2 * MODELS[name].parameters
        facts = MODELS[name]
        quantised = replace(facts, quantization="awq", weight_bytes=weight_bytes(facts, "awq"))
        raw = gpu_node("h100", "h", 1)
        raw["metadata"]["labels"]["nvidia.com/gpu.memory"] = str(round(0.59 * facts.parameters / 2**20))
        with pytest.raises(NothingFitsError):
            decide(spec(engine={"name": "vllm"}), quantised, [node_facts(raw)], WHOLE)


def test_price_breaks_ties_and_goal_cost_follows_it() -> None:
    dear = NodePool("l4", (("node.kubernetes.io/instance-type", "g6.2xlarge"),), price=9.0)
    cheap = NodePool("l40s", (("node.kubernetes.io/instance-type", "g6e.4xlarge"),), price=3.0)
    nodes = [node_facts(gpu_node(kind, kind)) for kind in ("l4", "l40s")]
    kinds = {dict(one.labels)["node.kubernetes.io/instance-type"] for one in nodes}
    assert kinds == {"g6.2xlarge", "g6e.4xlarge"}
    plain = decide(spec(), MODELS["llama3-8b"], nodes, WHOLE)
    assert plain.accelerator is not None
    assert plain.accelerator.product == "NVIDIA-L4"
    priced = replace(WHOLE, node_pools=(dear, cheap))
    for wish in ({}, goal("cost")):
        found = decide(spec(**wish), MODELS["llama3-8b"], nodes, priced)
        assert found.accelerator is not None
        assert found.accelerator.product == "NVIDIA-L40S"


def test_a_pool_that_has_no_node_yet_is_planned_for() -> None:
    pool = NodePool(
        "gpu", (("pool", "gpu"),), ("nvidia.com/gpu=present:NoSchedule",), cpu=16, memory="120Gi",
        gpus=(("nvidia.com/gpu", 2),), gpu_product="NVIDIA-L40S", gpu_memory="45Gi", price=4, most=3,
    )  # fmt: skip
    small = node_facts(gpu_node("laptop-16gb", "small"))
    found = decide(spec(), MODELS["llama3-8b"], [small], replace(WHOLE, node_pools=(pool,)))
    assert found.node_selector == (("pool", "gpu"),)
    assert found.accelerator is not None
    assert (found.engine, found.method, found.accelerator.count) == ("vllm", "fp8", 1)
    assert "None of them exists yet" in found.reason
    full = replace(pool, most=0)
    found = decide(spec(), MODELS["llama3-8b"], [small], replace(WHOLE, node_pools=(full,)))
    assert found.accelerator is None


def test_devices_in_use_come_after_free_ones_and_are_waited_for_when_there_are_no_others() -> None:
    busy, free = (node_facts(gpu_node("l4", name)) for name in ("busy", "free"))
    taken = replace(busy, gpus=tuple(replace(one, used=1) for one in busy.gpus))
    t4 = node_facts(gpu_node("t4", "t4"))
    found = decide(spec(), MODELS["llama3-8b"], [taken, t4], WHOLE)
    assert found.accelerator is not None
    assert found.accelerator.product == "Tesla-T4"
    assert any("in use now" in one.reason for one in found.rejected)
    waits = decide(spec(engine={"name": "vllm"}), MODELS["llama3-8b"], [taken], WHOLE)
    assert "All devices are in use now" in waits.reason
    assert "in use" not in decide(spec(), MODELS["llama3-8b"], [taken, free], WHOLE).reason


def test_trt_llm_serves_latency_where_its_image_is_allowed() -> None:
    facts = MODELS["llama3-8b"]
    if "tensorrt-llm" not in ENGINES:
        pytest.skip("no such engine")
    assert decided("h100", facts, TRT, **goal("latency")).engine == "tensorrt-llm"
    assert decided("h100", facts, TRT).engine == "vllm"
    assert decided("h100", facts, WHOLE, **goal("latency")).engine == "vllm"
    assert decided("mi300x", facts, TRT, **goal("latency")).engine == "vllm"


def test_speed_against_many_nodes_is_a_matter_of_kinds_not_of_nodes() -> None:
    kinds = ("h100", "l4", "t4", "m7i-4xlarge", "mi300x")
    nodes = [node_facts(gpu_node(kinds[index % 5], f"n{index:04}")) for index in range(200)]
    few = decide(spec(), MODELS["llama3-8b"], nodes[:5], WHOLE)
    many = decide(spec(), MODELS["llama3-8b"], list(reversed(nodes)), WHOLE)
    assert replace(few, holds=None).effect == replace(many, holds=None).effect


@pytest.mark.parametrize(
    ("settings", "store", "needs"),
    [
        (replace(GGUF_ALONE, several_nodes=False), SHARED, "needs LeaderWorkerSet"),
        (GGUF_ALONE, {}, "needs spec.store.accessMode ReadWriteMany"),
        (replace(GGUF_ALONE, several_nodes=False), {}, "in the cluster and spec.store.accessMode"),
    ],
)
def test_what_a_replica_on_several_nodes_needs_is_said(
    settings: Settings, store: dict[str, str], needs: str
) -> None:
    two = [node_facts(gpu_node("h100", name)) for name in ("a", "b")]
    wish = spec(engine={"name": "vllm"}, optimize={"method": "none"}, store=store)
    with pytest.raises(NothingFitsError, match="device memory") as refused:
        decide(wish, BIG["llama3-405b"], two, settings)
    assert "2 such nodes together hold it: that needs" in str(refused.value)
    assert needs in str(refused.value)
    shared = spec(engine={"name": "vllm"}, optimize={"method": "none"}, store=SHARED)
    assert decide(shared, BIG["llama3-405b"], two, GGUF_ALONE).parallel.pods == 2
