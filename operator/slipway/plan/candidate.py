"""One way to serve with the nodes that hold it, or why there is none; made by on_cpu, on_gpu for decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from slipway.plan.companions import Companion
from slipway.plan.decision import ONE_DEVICE, Accelerator, Memory, Parallel
from slipway.plan.facts import EngineFacts, Gpu, ModelFacts, NodeFacts
from slipway.plan.methods import method_at
from slipway.plan.wishes import Wishes

NODE, MOSTLY, NODES, PARTLY, HOST = range(5)
"""Where the weights lie, best first: devices of one node; three quarters and more of them there, the rest in
the node's memory; devices of several nodes; a quarter and more on devices; all in node memory."""

IN_PARTS: Final = "the model comes in several GGUF files, which {engine} can't load"
UNQUANTISED: Final = ("F16", "BF16", "F32")
NO_NODE: Final = "no usable node"
"""Reason of an option that there was no node to try on."""
GGUF_LOSS: Final[Mapping[str, float]] = {
    "F16": 0.0, "BF16": 0.0, "Q8_0": 1.0, "Q6_K": 1.5, "Q5_K_M": 2.5, "Q5_K_S": 2.7, "Q5_1": 2.8, "Q5_0": 2.9,
    "Q4_K_M": 4.0, "Q4_K_S": 5.0, "IQ4_XS": 5.0, "IQ4_NL": 5.0, "Q4_1": 5.5, "Q4_0": 6.0, "Q3_K_L": 6.0,
    "Q3_K_M": 6.5, "IQ3_M": 7.0, "IQ3_S": 8.0, "Q3_K_S": 8.5, "Q2_K": 10.0, "TQ2_0": 12.0, "TQ1_0": 14.0,
    "IQ3_XS": 9.0, "IQ3_XXS": 9.5, "Q2_K_S": 11.0, "IQ2_M": 11.5, "IQ2_S": 13.0, "IQ2_XS": 15.0,
    "IQ2_XXS": 18.0, "IQ1_M": 30.0, "IQ1_S": 40.0, "MXFP4_MOE": 3.0,
}  # fmt: skip
"""Level to its published increase in perplexity, percent: of ``plan.bands``; the rest lies between. Below
Q2_K nothing is published that would hold for more than one model: an order, no figures."""
OTHER_LOSS: Final[Mapping[str, float]] = {
    "F32": 0.0, "Q8_K_XL": 0.9, "Q6_K_XL": 1.4, "Q6_K_L": 1.4, "Q5_K_XL": 2.4, "Q5_K_L": 2.4, "Q4_K_XL": 3.8,
    "Q4_K_L": 3.8, "MXFP4": 4.0, "NVFP4": 4.0, "Q3_K_XL": 6.0, "Q2_K_L": 9.5, "Q2_K_XL": 9.5,
}  # fmt: skip
"""Levels that models come with and no Job makes, to what they may lose. Judged, for their order."""
WORST: Final = 20.0
"""Of a level whose name says nothing."""


@dataclass(frozen=True)
class Request:
    """What is planned for: model, what the spec fixes, engines that may be chosen, what Jobs can make.

    Attributes:
        makes: methods that Jobs of this version make artifacts of.
        one_node: why a replica may not take several nodes; empty when it may.
        companions: what is served beside the model.
    """

    facts: ModelFacts
    wishes: Wishes
    engines: tuple[EngineFacts, ...]
    makes: frozenset[str]
    one_node: str = ""
    companions: tuple[Companion, ...] = ()


@dataclass(frozen=True)
class Kind:
    """Accelerators that are alike, and the nodes that have them."""

    gpu: Gpu
    architecture: str
    nodes: tuple[NodeFacts, ...]

    @property
    def text(self) -> str:
        """For a reason: ``NVIDIA-L4``, or the resource where nodes are not labelled."""
        return self.gpu.product or self.gpu.resource


@dataclass(frozen=True)
class Candidate:
    """One way to serve.

    Attributes:
        place: ``NODE`` to ``HOST``.
        tier: position of method and level in what the goal prefers, 0 first.
        loss: published loss of method and level, percent.
        token_seconds: least time for one token of one request, by the bandwidth of the memory that is read.
        price: currency for a million tokens at full load, by the same bound; None without a node's price.
        device_bytes: memory of all devices together: what stands for the price where there is none.
        fitting: nodes that can hold it.
        made: a Job makes it.
        free: one of them has room now.
        container_memory: request and limit of each pod's container, bytes.
        cpu_millis: requested.
        threads: CPU limit in whole cores.
    """

    engine: EngineFacts
    method: str
    level: str
    form: str
    at_load: bool
    place: int
    tier: int
    loss: float
    context_length: int
    concurrency: int
    memory: Memory
    container_memory: int
    shared_memory: int
    cpu_millis: int
    threads: int
    fitting: tuple[NodeFacts, ...]
    accelerator: Accelerator | None = None
    parallel: Parallel = ONE_DEVICE
    gpu_layers: int | None = None
    dtype: str = ""
    made: bool = False
    free: bool = True
    token_seconds: float = 0.0
    price: float | None = None
    device_bytes: int = 0

    @property
    def text(self) -> str:
        """As status shows it."""
        return requests_text(self.what, self.concurrency, self.context_length)

    @property
    def what(self) -> str:
        """Level alone on CPU, as there is one engine; else engine, method, level and device."""
        if self.accelerator is None:
            return self.level
        return option_text(self.engine.name, self.method, self.level, self.accelerator.product)


@dataclass(frozen=True)
class Miss:
    """An option that no node holds.

    Attributes:
        need: bytes that it needs of what is short; 0 when memory is not what is missing.
        have: bytes that the nearest has.
        device: the memory is a device's.
    """

    option: str
    reason: str
    need: int = 0
    have: int = 0
    device: bool = False
    nearest: str = ""


def option_text(engine: str, method: str, level: str, product: str) -> str:
    """``vllm awq W4A16 on NVIDIA-L4``."""
    return f"{engine} {how_text(method, level)} on {product or 'CPU'}"


def how_text(method: str, level: str) -> str:
    """``awq W4A16``; the level alone where it says the method."""
    return level if method in ("gguf", "none", level.lower()) else f"{method} {level}"


def gguf_loss(level: str) -> float:
    """Percent by which a GGUF level loses: published, else judged, else the worst."""
    plain = level.removeprefix("UD-")
    return GGUF_LOSS.get(plain, OTHER_LOSS.get(plain, WORST))


def gguf_method(level: str) -> str:
    """Method of a GGUF level: 16 bits and more are not quantised."""
    return "none" if level in UNQUANTISED else "gguf"


def loss_of(method: str, level: str) -> float:
    """Published increase in perplexity, percent."""
    return gguf_loss(level) if method == "gguf" else method_at(method, level).loss


def requests_text(what: str, concurrency: int, context_length: int) -> str:
    """``Q4_K_M, 4 requests of 4096 tokens``."""
    requests = "request" if concurrency == 1 else "requests"
    return f"{what}, {concurrency} {requests} of {context_length} tokens"
