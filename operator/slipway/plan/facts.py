"""What the planner knows of a model and of nodes; built by observe, passes and the command line."""

from __future__ import annotations

from dataclasses import dataclass


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
        quantization: existing quantisation method, empty for none.
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


@dataclass(frozen=True)
class Gpu:
    """One kind of accelerator that a node offers; memory in bytes, 0 when the node's labels don't say."""

    resource: str
    count: int
    product: str = ""
    memory: int = 0


@dataclass(frozen=True)
class NodeFacts:
    """One node as the scheduler sees it.

    Attributes:
        architecture: ``amd64`` or ``arm64``.
        cpu: allocatable cores.
        memory: allocatable bytes.
        ephemeral_storage: allocatable bytes.
        taints: ``key=value:effect`` of NoSchedule and NoExecute taints.
        os: operating system, ``linux`` when the node does not say.
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
