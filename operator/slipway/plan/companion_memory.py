"""Memory of what is served beside the model. Pure; called by on_gpu, on_cpu, offload, engines.

Source of an adapter's: ``create_lora_manager`` of vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slipway.plan.companions import DRAFT_LEVEL, LORA, RANKS, Companion
from slipway.plan.device_memory import kv_bytes
from slipway.plan.facts import ModelFacts
from slipway.plan.memory import MICRO_BATCH, engine_memory

ELEMENT: Final = 2
"""Bytes of an adapter's element in memory: 16 bits, whatever its file has."""


@dataclass(frozen=True)
class Beside:
    """Memory of a model's companions, bytes.

    Attributes:
        weights: of draft or heads, and of the adapters' places.
        kv_token: KV cache of one token in the draft, 16 bits.
    """

    weights: int = 0
    kv_token: float = 0.0


def beside(facts: ModelFacts, companions: Sequence[Companion], kv_dtype: str = "") -> Beside:
    """Memory that companions take in an engine that loads safetensors, beside the model's own.

    Args:
        facts: of the model, whose matrices adapters add to.
        companions: of this spec.
        kv_dtype: of the KV cache, the draft's too.
    """
    guessing = [one for one in companions if one.kind != LORA]
    weights = sum(one.weight_bytes for one in guessing) + adapter_bytes(facts, companions)
    drafts = (one.facts for one in guessing if one.facts)
    return Beside(weights, sum(kv_bytes(one, kv_dtype) for one in drafts))


def kernel_rank(rank: int) -> int:
    """The rank of the kernel that serves an adapter of this one."""
    return next((one for one in RANKS if one >= rank), RANKS[-1])


def adapter_bytes(facts: ModelFacts, companions: Sequence[Companion]) -> int:
    """Memory of the adapters' places: each is as large as the largest rank in every matrix, used or not.

    A matrix of n x m takes rank x (n + m) elements. Of the feed-forward part, whose width is not known, it is
    what a layer's weights leave beside attention, in three matrices. An adapter's file bounds it from below.
    """
    adapters = [one for one in companions if one.kind == LORA]
    if not adapters:
        return 0
    hidden, query, keys = facts.hidden_size, facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    embedding = min(facts.vocab_size * hidden, facts.parameters)
    layer = (facts.parameters - embedding) / max(1, facts.layers)
    width = max(0.0, layer - 2 * hidden * (query + keys)) / (3 * max(1, hidden))
    sums = 2 * (hidden + query) + 2 * (hidden + keys) + 3 * (hidden + width)
    place = round(kernel_rank(max(one.rank for one in adapters)) * sums * max(1, facts.layers) * ELEMENT)
    # One place more: sglang keeps one for requests without an adapter.
    return (len(adapters) + 1) * max(place, *(one.weight_bytes for one in adapters))


def gguf_bytes(companions: Sequence[Companion], context_length: int, concurrency: int) -> int:
    """Memory of a draft beside its model in one llama-server: weights, KV cache of every slot, buffers.

    Measured with SmolLM2 (Q4_1) as its own draft and 2 slots of 2048 tokens: 207 MiB beside the mapped file,
    of which the KV cache is 90, buffers as the model's 22, and logits of a whole micro batch 96.
    """
    drafts = [one.facts for one in companions if one.facts]
    found = 0
    for one in drafts:
        memory = engine_memory(one, DRAFT_LEVEL, context_length, concurrency)
        found += memory.weights + memory.kv_cache + memory.activations + 4 * MICRO_BATCH * one.vocab_size
    return found
