"""The planner's output, frozen; written to the ControllerRevision and, trimmed, to status.plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True)
class Memory:
    """Planned memory of one replica, bytes each.

    Attributes:
        companions: of draft, heads and adapters beside the model.
    """

    weights: int
    kv_cache: int
    activations: int
    overhead: int
    companions: int = 0

    @property
    def total(self) -> int:
        """Sum of the parts."""
        return self.weights + self.kv_cache + self.activations + self.overhead + self.companions


@dataclass(frozen=True)
class Rejected:
    """An option not taken."""

    option: str
    reason: str


@dataclass(frozen=True)
class Resources:
    """Container resources of one replica: CPU in millicores, memory and shared memory in bytes."""

    cpu_millis: int
    memory: int
    shared_memory: int


@dataclass(frozen=True)
class Sizes:
    """Bytes of each artifact on disk: measured for the source, computed for the rest."""

    source: int
    f16: int
    level: int


@dataclass(frozen=True)
class Accelerator:
    """What a pod requests beside CPU and memory.

    Attributes:
        vendor: key of ``plan.gpus.VENDORS``.
        resource: extended resource, ``nvidia.com/gpu``.
        count: of it for each pod.
        product: as the nodes are labelled; empty when they are not.
        memory: bytes of one.
        share: percent of a device's memory that the engine may take.
    """

    vendor: str
    resource: str
    count: int
    product: str = ""
    memory: int = 0
    share: int = 90


@dataclass(frozen=True)
class Parallel:
    """How one replica is spread.

    Attributes:
        tensor: devices that share each layer.
        pipeline: groups of layers, one after the other.
        data: copies of the model inside one replica, which share its queue.
        pods: pods of one replica; more than one are on nodes of their own, as a LeaderWorkerSet.
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    pods: int = 1

    @property
    def devices(self) -> int:
        """Of one replica."""
        return self.tensor * self.pipeline * self.data

    @property
    def text(self) -> str:
        """``tensor parallel 4, pipeline parallel 2 on 2 nodes``; empty for one device."""
        parts = [
            f"{kind} parallel {size}"
            for kind, size in (("tensor", self.tensor), ("pipeline", self.pipeline), ("data", self.data))
            if size > 1
        ]
        return ", ".join(parts) + (f" on {self.pods} nodes" if self.pods > 1 else "")


ONE_DEVICE: Final = Parallel()


@dataclass(frozen=True)
class Plan:
    """One decision.

    Attributes:
        engine: engine name, a file of ``slipway.engines``.
        method: of ``plan.methods.METHODS``.
        level: llama.cpp level, ``F16`` when method is ``none``; else what the method calls it.
        concurrency: requests generated at once by one replica.
        threads: engine threads, the CPU limit in whole cores, at least 1.
        profile: checklist profile, ``edge`` or ``chat``.
        holds: replicas that the nodes hold at once; None in plans of before it was counted.
        form: of the served files: ``gguf`` (one file) or ``safetensors`` (a folder in Hugging Face's layout).
        at_load: the engine applies the method while it loads: no Job makes an artifact for it.
        made: a Job makes the method's level of the source, as a folder of safetensors.
        imatrix: the level is made with an importance matrix.
        options: what that Job is asked for beside the level, name to value, ordered by name.
        dtype: in which the engine computes, ``float16``; empty leaves it to the engine.
        accelerator: None for CPU.
        embeds: the model turns text into vectors.
        price: currency for a million tokens at full load; None without prices. No part of what is made.
        source_files: how many GGUF files of the source are served as they are; 0 where the source is no GGUF.
        gpu_layers: layers on the device, for an engine that can leave some to the CPU; None: all.
    """

    engine: str
    method: str
    level: str
    context_length: int
    concurrency: int
    threads: int
    node_selector: tuple[tuple[str, str], ...]
    memory: Memory
    resources: Resources
    sizes: Sizes
    profile: str
    reason: str
    rejected: tuple[Rejected, ...] = ()
    holds: int | None = None
    form: str = "gguf"
    at_load: bool = False
    dtype: str = ""
    accelerator: Accelerator | None = None
    parallel: Parallel = ONE_DEVICE
    gpu_layers: int | None = None
    embeds: bool = False
    price: float | None = None
    source_files: int = 0
    made: bool = False
    options: tuple[tuple[str, str], ...] = ()
    imatrix: bool = False

    @property
    def effect(self) -> Plan:
        """The plan without what only people read: two of one effect make the same pods and artifacts."""
        return replace(self, reason="", rejected=(), price=None)

    def surges(self, replicas: int) -> bool:
        """Whether a rollout may start one more replica before it stops one; else it would wait for ever."""
        return self.holds is None or replicas < self.holds
