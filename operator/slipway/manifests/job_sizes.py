"""CPU, memory and deadline of each stage, computed from what it handles. Called by jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway.plan.quantities import GIB, MIB, bytes_text, round_up

BASE_SECONDS = 1800
"""Part of every deadline: image pull, scheduling and a slow start on a small node."""
BYTES_PER_SECOND = {
    "fetch": 500_000,
    "convert": 5_000_000,
    "quantize": 1_000_000,
    "evaluate": 250_000,
    "publish": 20_000_000,
}
"""The slowest pace that counts as working: a 4 Mbit line, a Raspberry Pi's card, IQ levels on two cores."""
F16_PER_LEVEL = 5
"""An f16 file is at most about this many times its level's (16 bits over Q2_K's 3)."""
TORCH = 640 * MIB
"""Resident size of the converter with torch imported, before it reads a tensor: about 600 MiB."""
LARGEST_TENSOR = 4 * GIB
"""Converter and llama-quantize hold a tensor at a time, as f32 and as result: 1.4 GB for Llama 70B."""


@dataclass(frozen=True)
class JobSize:
    """What one Job gets.

    Attributes:
        cpu_millis: requested; there is no CPU limit, so an idle node's cores are all used.
        memory: requested bytes, what it holds for certain.
        memory_limit: bytes at which it is killed; page cache counts, yet is given up first.
        deadline_seconds: after which it is ended; the next try resumes.
    """

    cpu_millis: int
    memory: int
    memory_limit: int
    deadline_seconds: int

    def resources(self) -> dict[str, dict[str, str]]:
        """As a container has them."""
        return {
            "requests": {"cpu": f"{self.cpu_millis}m", "memory": bytes_text(self.memory)},
            "limits": {"memory": bytes_text(self.memory_limit)},
        }


def _convert(size: int) -> tuple[int, int]:
    """A tensor as stored, as f32 and as f16."""
    tensor = min(size, LARGEST_TENSOR)
    return TORCH + tensor // 4, TORCH + 512 * MIB + tensor


def _quantize(size: int) -> tuple[int, int]:
    """A tensor as f16, as f32 and as result; ``size`` is the result's."""
    tensor = min(F16_PER_LEVEL * size, LARGEST_TENSOR)
    return 256 * MIB + tensor // 4, 512 * MIB + tensor


def _evaluate(size: int) -> tuple[int, int]:
    """Logits of a batch (7 KB a vocabulary entry measured); weights are mapped, resident if there is room."""
    return 512 * MIB + size // 10, 2560 * MIB + size + size // 10


MEMORY: Mapping[str, Callable[[int], tuple[int, int]]] = {
    "inspect": lambda _: (128 * MIB, 512 * MIB),
    "fetch": lambda _: (256 * MIB, GIB),
    "convert": _convert,
    "quantize": _quantize,
    "evaluate": _evaluate,
    "publish": lambda _: (128 * MIB, 512 * MIB),
    "benchmark": lambda _: (512 * MIB, 2 * GIB),
}
"""Stage to request and limit, bytes, from the artifact's size."""


def stage_size(stage: str, expected_bytes: int, longest: int) -> JobSize:
    """Size of one stage's Job.

    Args:
        stage: one of contract.STAGES.
        expected_bytes: size of the artifact that the stage works on; 0 for inspect and benchmark.
        longest: upper bound of the deadline, seconds.
    """
    memory, limit = MEMORY[stage](expected_bytes)
    seconds = BASE_SECONDS + expected_bytes // BYTES_PER_SECOND.get(stage, 1_000_000_000)
    cpu = 250 if stage in ("convert", "quantize", "evaluate", "benchmark") else 100
    return JobSize(cpu, round_up(memory, MIB), round_up(limit, MIB), min(seconds, longest))
