"""Device memory of GPU engines: weights, KV cache, activations, the engine itself. Pure; called by on_gpu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slipway.plan.facts import Gpu, ModelFacts
from slipway.plan.quantities import GIB, MIB

LARGE_DEVICE: Final = 70 * GIB
BATCHED_TOKENS: Final = (2048, 8192)
"""Prompt tokens computed at once: vLLM's default for servers, by whether a device has less than 70 GiB."""
LIVE_HALVES: Final = 18
"""16-bit numbers alive for each of them, in hidden sizes: for 8,192 tokens and a hidden size of 4096
1.2 GB, near the 1.2 GiB that vLLM's own profile reports of an 8-billion model."""
COMMUNICATION: Final = 512 * MIB
"""Buffers of the collective library for each device, where there is more than one. Judged."""
TYPICAL_SHARE: Final = 8
"""Without a wish for concurrency a request is taken to use an eighth of its context, and one all of it. The
engine pages its KV cache: a request that finds none waits, and fails nothing. Judged, not measured."""
KV_BYTES: Final = {"": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5, "q8_0": 1.0625, "q4_0": 0.5625}
"""Bytes of an element of the KV cache by its type, the scales of blocks of elements included."""
HEAD_BYTES: Final = {"int8": 4, "int4": 4}
"""Bytes beside the elements of one head and token, by type: LMDeploy keeps a 16-bit scale and a 16-bit zero
point for each key and each value (docs: "asymmetric, on a per-head, per-token basis")."""
CONCURRENCIES: Final = (64, 32, 16, 8, 4, 2, 1)
"""Requests at once when the spec doesn't say; fewer come before a lower level: quality is worth more."""


@dataclass(frozen=True)
class Need:
    """Device memory of one replica, bytes.

    Attributes:
        weights: of one copy of the model, all devices together.
        fixed: on each device: activations and the engine.
        kv_token: KV cache of one token on one device.
        activations: the part of ``fixed`` that is activations.
        companions: of one copy's draft, heads and adapters, all devices together.
    """

    weights: int
    fixed: int
    kv_token: float
    activations: int
    companions: int = 0


def kv_bytes(facts: ModelFacts, kv_dtype: str = "") -> float:
    """Bytes of KV cache for one token, all layers together; for the source ``memory.kv_bytes_per_token``."""
    elements = facts.kv_elements or 2 * facts.layers * facts.kv_heads * facts.head_dim
    heads = elements / (facts.head_dim or 1)
    return elements * KV_BYTES[kv_dtype] + heads * HEAD_BYTES.get(kv_dtype, 0)


def device_need(
    facts: ModelFacts, gpu: Gpu, weights: int, tensor: int, pipeline: int, kv_dtype: str, overhead: int
) -> Need:
    """What devices hold beside the weights, when ``tensor`` x ``pipeline`` of them share one model.

    KV heads that are fewer than the devices are copied, not shared.
    """
    batched = BATCHED_TOKENS[gpu.memory >= LARGE_DEVICE]
    activations = 2 * batched * LIVE_HALVES * facts.hidden_size // tensor
    logits = 4 * CONCURRENCIES[0] * facts.vocab_size // tensor
    several = COMMUNICATION if tensor * pipeline > 1 else 0
    heads = min(tensor, facts.kv_heads or 1) if not facts.kv_elements else 1
    return Need(
        weights,
        activations + logits + overhead + several,
        kv_bytes(facts, kv_dtype) / (heads * pipeline),
        activations + logits,
    )


def kv_tokens(context_length: int, concurrency: int, *, asked: bool) -> int:
    """Tokens that the KV cache must hold: all contexts whole when the spec asks for that many at once."""
    if asked:
        return context_length * concurrency
    return context_length + (concurrency - 1) * context_length // TYPICAL_SHARE


def most_requests(room: float, kv_token: float, context_length: int, asked: int | None) -> int:
    """Requests at once for which ``room`` bytes of one device hold the KV cache; 0 when not even one fits."""
    for concurrency in (asked,) if asked else CONCURRENCIES:
        if kv_tokens(context_length, concurrency, asked=bool(asked)) * kv_token <= room:
            return concurrency
    return 0
