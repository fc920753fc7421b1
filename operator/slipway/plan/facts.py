"""What the planner knows of a model, of nodes and of engines; built by observe, passes, engines, the CLI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CPU = "cpu"
"""The accelerator of an engine that needs none."""


@dataclass(frozen=True)
class ModelFacts:
    """Facts of one model at one commit, read without its weights.

    Attributes:
        architecture: first of config.json's ``architectures``, for example ``LlamaForCausalLM``.
        parameters: total number of weights.
        context_length: the model's own limit, tokens.
        dtype: of the stored weights, ``bfloat16``.
        weight_bytes: bytes of the weight files.
        download_bytes: bytes of everything that the fetch stage will download.
        license: the hub's licence id, empty when unknown.
        quantization: method of ``plan.methods`` that the weights come quantised with, empty for none.
        active_parameters: weights that one token passes through; 0 means all (no mixture of experts).
        experts: experts of a mixture layer, 0 for none.
        modality: ``text``, ``multimodal``, ``embedding`` or ``other`` (classifies, drafts, speaks).
        convertible: llama.cpp's converter knows the architecture.
        kv_elements: elements that one token leaves in the KV cache, all layers together; 0 means keys and
            values of every KV head (compressed attention, as DeepSeek's, leaves far fewer).
        vocabulary: hash over every token with its number; empty when nobody read it.
    """

    architecture: str
    parameters: int
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    dtype: str
    weight_bytes: int
    download_bytes: int
    license: str = ""
    quantization: str = ""
    active_parameters: int = 0
    experts: int = 0
    modality: str = "text"
    convertible: bool = True
    kv_elements: int = 0
    vocabulary: str = ""


@dataclass(frozen=True)
class Gpu:
    """One kind of accelerator that a node offers.

    Attributes:
        resource: what pods request, ``nvidia.com/gpu``.
        count: allocatable ones; shared devices count once for each share.
        product: as labelled, ``NVIDIA-H100-80GB-HBM3``; empty when the node's labels don't say.
        memory: bytes that one of them has for a pod alone (a slice's, a share's); 0 when unknown.
        vendor: key of ``plan.gpus.VENDORS``; empty for one that we don't know.
        compute: compute capability (8.9) of NVIDIA devices, else 0.
        sharing: empty, ``mig``, ``time-slicing`` or ``mps``.
        shares: pods that may use one device at a time; 1 unless it is shared.
        used: how many pods of others have now.
    """

    resource: str
    count: int
    product: str = ""
    memory: int = 0
    vendor: str = ""
    compute: float = 0.0
    sharing: str = ""
    shares: int = 1
    used: int = 0


@dataclass(frozen=True)
class NodeFacts:
    """One node as the scheduler sees it, or one that a node pool would add.

    Attributes:
        architecture: ``amd64`` or ``arm64``.
        cpu: allocatable cores.
        memory: allocatable bytes.
        ephemeral_storage: allocatable bytes.
        taints: ``key=value:effect`` of NoSchedule and NoExecute taints.
        os: operating system, ``linux`` when the node does not say.
        price: currency an hour; None when nobody said.
        most: how many nodes like this there may be: 1 for one that exists, the limit of a pool for one that
            would be added.
        planned: the node does not exist: a pool of the installation's values adds it when pods ask for it.
    """

    name: str
    architecture: str
    cpu: float
    memory: int
    ephemeral_storage: int
    ready: bool
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    os: str = "linux"
    price: float | None = None
    most: int = 1
    planned: bool = False


@dataclass(frozen=True)
class Loads:
    """A method that an engine serves on an accelerator.

    Attributes:
        method: name in ``plan.methods.METHODS``.
        compute: least compute capability, for NVIDIA.
        at_load: the engine quantises while it loads the 16-bit weights: no Job makes it, nothing is measured.
    """

    method: str
    compute: float = 0.0
    at_load: bool = False


@dataclass(frozen=True)
class EngineFacts:
    """What the planner knows of one engine; an engine's file says it.

    Attributes:
        loads: accelerator (``cpu`` or a vendor) to the methods that it serves there.
        architectures: accelerator to the node architectures that there is an image for.
        reads: accelerator to the levels that it reads there as Jobs write them, which is compressed-tensors:
            not every engine that loads AWQ or GPTQ in a format of theirs reads it too.
        capabilities: names of ``plan.capabilities.CAPABILITIES`` that it has.
        modalities: of the models that it serves.
        unstaged: ways to guess tokens that it does on one stage of a pipeline alone.
        goals: goals for which the planner may choose it without being asked; empty: only by name.
        rank: order among engines that could serve the same, lower first.
        overhead: bytes on each device beside weights, KV cache and activations.
        host_memory: bytes of node memory of one pod beside the weights, for each device.
    """

    name: str
    loads: Mapping[str, tuple[Loads, ...]]
    architectures: Mapping[str, frozenset[str]]
    reads: Mapping[str, frozenset[str]] = field(default_factory=dict)
    capabilities: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset({"text"})
    unstaged: frozenset[str] = frozenset({"draft", "mlp", "medusa"})
    goals: frozenset[str] = frozenset()
    rank: int = 0
    overhead: int = 0
    host_memory: int = 0
