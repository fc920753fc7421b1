"""CPU, memory and deadline of each stage, computed from what it handles. Called by jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway.plan.facts import ModelFacts
from slipway.plan.memory import largest_tensor
from slipway.plan.quantities import GIB, MIB, bytes_text, round_up
from slipway.settings import Settings
from slipway_runtime.methods import GGUF

BASE_SECONDS = 1800
"""Part of every deadline: image pull, scheduling and a slow start on a small node."""
BYTES_PER_SECOND = {
    "fetch": 500_000,
    "merge": 1_000_000,
    "prune": 50_000,
    "distill": 10_000,
    "convert": 5_000_000,
    "imatrix": 100_000,
    "quantize": 1_000_000,
    "evaluate": 250_000,
    "publish": 20_000_000,
    "push": 500_000,
}
"""The slowest pace that counts as working: a 4 Mbit line, a Raspberry Pi's card, IQ levels on two cores."""
CALIBRATED_BYTES_PER_SECOND = 10_000
"""The same for ``quantize`` with PyTorch. AWQ of SmolLM2 wrote 117 MB in 295 s on one busy core with 16
samples of 256 tokens; 128 of 512, the default, are 16 times as many."""
TORCH = 640 * MIB
"""The converter with torch imported, before it reads a tensor: 311 MiB of its own and its libraries."""
CONVERT_BYTES = 6.0
"""Bytes a weight of the largest tensor: as f32 and as result. Measured 6.01 (llama.cpp 0.7.0, tensors of 101
and 201 million weights); the source is mapped. 8.5 GB for Gemma 3 27B, whose vocabulary is the largest."""
QUANTIZE_BYTES = 5.1
"""The same for llama-quantize: measured 4.82 for Q4_K_M, 5.06 for Q8_0; the f16 file is mapped."""
PYTORCH = 2 * GIB
"""PyTorch, transformers and their tools (580 MiB measured), calibration texts, activations and GPTQ's sums
of a layer (800 MiB for the widest matrix of 8 billion weights)."""
MERGE = 768 * MIB
"""NumPy with some blocks of 16 MiB, and one tensor's matrices in float32: of rank 512 and the largest
embedding known (262,144 x 5,376) 550 MB."""
WHOLE_MODELS = 2.0
"""How many times the 16-bit model may lie in memory. Measured with llmcompressor 0.14 on SmolLM2's 257 MiB:
AWQ 1143 MiB at its peak, GPTQ 954 MiB, PyTorch's 580 included."""
SLACK = 512 * MIB
"""Beside the tensor: tokenizer, buffers, and pages of files that are written faster than the disk takes."""
UNKNOWN_TENSOR = 1_500_000_000
"""Weights of the largest tensor when the model's facts are not known: no embedding known is larger."""


@dataclass(frozen=True)
class Subject:
    """What a stage works on.

    Attributes:
        expected_bytes: size of the artifact; 0 for inspect and benchmark.
        facts: of the model; None when they are not known.
        form: of the result, as of ``slipway_runtime.methods``.
        whole: the recipe asks for a model that lies in memory whole.
    """

    expected_bytes: int = 0
    facts: ModelFacts | None = None
    form: str = GGUF
    whole: bool = False

    @property
    def weights(self) -> int:
        """Bytes of the 16-bit model; without facts, as if the result had 4 bits a weight."""
        return 2 * self.facts.parameters if self.facts else 4 * self.expected_bytes

    @property
    def tensor(self) -> int:
        """Weights of its largest tensor; without facts at most as many as the artifact has bytes."""
        return largest_tensor(self.facts) if self.facts else min(self.expected_bytes, UNKNOWN_TENSOR)


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


def _convert(subject: Subject) -> tuple[int, int]:
    """A tensor at a time."""
    tensor = round(CONVERT_BYTES * subject.tensor)
    return TORCH + tensor // 4, TORCH + SLACK + tensor


def _whole(subject: Subject) -> tuple[int, int]:
    """PyTorch with all of a model in memory, and a copy of what is written."""
    return PYTORCH // 4 + subject.weights, PYTORCH + SLACK + round(WHOLE_MODELS * subject.weights)


def _merge(subject: Subject) -> tuple[int, int]:
    """A block of a tensor at a time and the adapters' matrices; by PEFT the whole model."""
    return _whole(subject) if subject.whole else (256 * MIB, SLACK + MERGE)


def _imatrix(subject: Subject) -> tuple[int, int]:
    """Logits of a window and sums of every column; the f16 file is mapped, resident if there is room."""
    size = subject.weights
    return 512 * MIB + size // 10, 2560 * MIB + size + size // 10


def _quantize(subject: Subject) -> tuple[int, int]:
    """A tensor at a time; with PyTorch the whole model."""
    if subject.form != GGUF:
        return _whole(subject)
    tensor = round(QUANTIZE_BYTES * subject.tensor)
    return 256 * MIB + tensor // 4, SLACK + tensor


def _evaluate(subject: Subject) -> tuple[int, int]:
    """Logits of a batch (7 KB a vocabulary entry measured); weights are mapped, resident if there is room."""
    if subject.form != GGUF:
        return _whole(subject)
    size = subject.expected_bytes
    return 512 * MIB + size // 10, 2560 * MIB + size + size // 10


MEMORY: Mapping[str, Callable[[Subject], tuple[int, int]]] = {
    "merge": _merge,
    "prune": _whole,
    "distill": _whole,
    "inspect": lambda _: (128 * MIB, 512 * MIB),
    "fetch": lambda _: (256 * MIB, GIB),
    "convert": _convert,
    "imatrix": _imatrix,
    "quantize": _quantize,
    "evaluate": _evaluate,
    "publish": lambda _: (128 * MIB, 512 * MIB),
    "recall": lambda _: (128 * MIB, 512 * MIB),
    "push": lambda _: (256 * MIB, GIB),
    "benchmark": lambda _: (512 * MIB, 2 * GIB),
}
"""Stage to request and limit, bytes. Less than the peak is requested: a small node takes the Job, too."""


COMPUTING = frozenset(
    {"merge", "prune", "distill", "convert", "imatrix", "quantize", "evaluate", "benchmark"}
)
"""Stages that keep a core busy."""


def stage_size(stage: str, subject: Subject, settings: Settings) -> JobSize:
    """Size of one stage's Job.

    Args:
        stage: one of contract.STAGES.
        subject: what it works on.
        settings: upper bound of the deadline, and how many times the computed memory Jobs get.
    """
    memory, limit = (settings.job_memory_factor * one for one in MEMORY[stage](subject))
    pace = BYTES_PER_SECOND.get(stage, 1_000_000_000)
    if stage == "quantize" and subject.form != GGUF:
        pace = CALIBRATED_BYTES_PER_SECOND
    work = subject.weights if stage == "imatrix" else subject.expected_bytes
    seconds = BASE_SECONDS + work // pace
    cpu = 250 if stage in COMPUTING else 100
    deadline = min(seconds, settings.job_deadline_seconds)
    return JobSize(cpu, round_up(memory, MIB), round_up(limit, MIB), deadline)
