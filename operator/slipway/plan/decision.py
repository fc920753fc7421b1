"""The planner's output, frozen; written to the ControllerRevision and, trimmed, to status.plan."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Memory:
    """Planned memory of one replica, bytes each."""

    weights: int
    kv_cache: int
    activations: int
    overhead: int

    @property
    def total(self) -> int:
        """Sum of the parts."""
        return self.weights + self.kv_cache + self.activations + self.overhead


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
class Plan:
    """One decision.

    Attributes:
        engine: engine name, a file of ``slipway.engines``.
        method: ``gguf`` or ``none`` (f16 as GGUF).
        level: llama.cpp level, ``F16`` when method is ``none``.
        concurrency: requests generated at once by one replica.
        threads: engine threads, the CPU limit in whole cores, at least 1.
        profile: checklist profile, ``edge`` or ``chat``.
        holds: replicas that the nodes hold at once; None in plans of before it was counted.
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

    @property
    def effect(self) -> Plan:
        """The plan without what only people read: two of one effect make the same pods and artifacts."""
        return replace(self, reason="", rejected=())

    def surges(self, replicas: int) -> bool:
        """Whether a rollout may start one more replica before it stops one; else it would wait for ever."""
        return self.holds is None or replicas < self.holds
