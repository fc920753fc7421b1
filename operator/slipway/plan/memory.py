"""Bytes of a model file at a level, of the KV cache, of a running engine; called by decide and manifests.

Sources of the figures: ``llama-quantize --dry-run`` and ``llama-server --verbosity 5`` of llama.cpp 0.7.0
(b11669) on models of 0.1 to 70 billion parameters; tests hold the measured table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.plan.decision import Memory, Sizes
from slipway.plan.facts import ModelFacts
from slipway.plan.quantities import MIB
from slipway.plan.stored import stored
from slipway_runtime.evaluate.question import CHUNKS, SCORED


@dataclass(frozen=True)
class Bits:
    """Bits a weight of a level, of all weights but one embedding matrix.

    Attributes:
        usual: measured on LLaMA 7B.
        ragged: measured on SmolLM2-135M, whose rows of 576 are no multiple of 256: K-quants can't be used
            for them and llama-quantize falls back (Q4_K to Q5_0, Q6_K to Q8_0, Q2_K and Q3_K to IQ4_NL).
    """

    usual: float
    ragged: float


LEVEL_BITS: Mapping[str, Bits] = {
    "F16": Bits(16.0, 16.0),
    "BF16": Bits(16.0, 16.0),
    "Q8_0": Bits(8.5, 8.51),
    "Q6_K": Bits(6.56, 8.02),
    "Q5_K_M": Bits(5.66, 6.04),
    "Q5_K_S": Bits(5.5, 5.88),
    "Q5_1": Bits(6.0, 6.01),
    "Q5_0": Bits(5.5, 5.51),
    "Q4_K_M": Bits(4.81, 5.54),
    "Q4_K_S": Bits(4.54, 5.29),
    "Q4_1": Bits(5.0, 5.01),
    "Q4_0": Bits(4.5, 4.51),
    "Q3_K_L": Bits(4.22, 4.95),
    "Q3_K_M": Bits(3.86, 4.64),
    "Q3_K_S": Bits(3.44, 4.24),
    # Measured 2.94; the published 2.8 GB of 6.7B are of an older mixture: between the two, near both.
    "Q2_K": Bits(3.1, 4.24),
    "IQ4_XS": Bits(4.28, 4.48),
    "IQ4_NL": Bits(4.53, 4.53),
    "Q2_K_S": Bits(2.68, 4.09),
    "IQ3_M": Bits(3.64, 4.4),
    "IQ3_S": Bits(3.44, 4.24),
    "IQ3_XS": Bits(3.25, 4.24),
    "IQ3_XXS": Bits(3.14, 4.27),
    "IQ2_M": Bits(2.73, 4.05),
    "IQ2_S": Bits(2.53, 3.99),
    "IQ2_XS": Bits(2.33, 3.97),
    "IQ2_XXS": Bits(2.11, 3.91),
    "IQ1_M": Bits(1.87, 3.84),
    "IQ1_S": Bits(1.72, 3.8),
    "TQ2_0": Bits(2.11, 3.9),
    "TQ1_0": Bits(1.74, 3.81),
    # Of what is no expert; those have EXPERT_BITS.
    "MXFP4_MOE": Bits(8.5, 8.51),
}
"""Level to bits a weight."""

EXPERT_BITS = 4.25
"""MXFP4: 32 weights of 4 bits share an exponent of 8. What a token passes through bounds the rest."""
ROW_BLOCK = 256
"""Weights in a block of a K-quant: rows of other lengths fall back."""
OUTPUT_BITS = Bits(6.5625, 8.5)
"""The output (or tied embedding) matrix is Q6_K in every level below it, Q8_0 where rows are ragged."""
FFN_SHARE = 2 / 3
"""Of a layer's weights, what one matrix has at most."""
VOCABULARY_BYTES = 40
"""Bytes a token of the vocabulary inside a GGUF file: 1.79 MB for SmolLM2's 49,152 tokens and merges."""
MICRO_BATCH = 512
"""``--ubatch-size``, llama-server's default: tokens computed at once."""
LIVE_FLOATS = 16
"""Floats alive a token of the micro batch, in hidden sizes: two FFN rows of up to 5.5 and four residual ones.

Measured compute buffer of llama-server for SmolLM2 (4 slots of 4096): 18.6 MiB; this gives 26 MiB.
"""
KV_BYTES = 2
"""Bytes of a KV cache element: f16, llama-server's default."""
SHARED_MEMORY = 64 * MIB
"""Size of /dev/shm. llama.cpp uses none; 64 MiB is what container engines give, for what links against it."""
LOGITS_HEAD = 5
"""16-bit numbers before each row: its scale and its start, and one where the vocabulary is odd."""
LOGITS_TOKENS = 64 * 1024
"""The tokens themselves, and the file's head."""
OVERHEAD = 128 * MIB + SHARED_MEMORY
"""llama-server itself: 39 MiB measured with 4 conversations of 3,600 tokens; HTTP bodies, shared memory."""


def file_bytes(facts: ModelFacts, level: str) -> int:
    """Bytes of the GGUF file at a level, within 10 % of the real one; those of a model that comes so exactly.

    Args:
        facts: parameters, vocabulary and hidden size of the model.
        level: a key of ``LEVEL_BITS``.

    Raises:
        KeyError: unknown level, or one that a model that comes as GGUF files has not.
    """
    if facts.levels:
        return {one.level: one.bytes for one in stored(facts.levels)}[level]
    bits = LEVEL_BITS[level]
    ragged = facts.hidden_size % ROW_BLOCK != 0
    body_bits = bits.ragged if ragged else bits.usual
    if level == "MXFP4_MOE" and facts.experts:
        dense = (facts.active_parameters or facts.parameters) / max(1, facts.parameters)
        body_bits = dense * body_bits + (1 - dense) * EXPERT_BITS
    embedding = min(facts.vocab_size * facts.hidden_size, facts.parameters)
    # Levels above Q6_K (Q8_0, F16) keep the output matrix at their own precision.
    output_bits = max(body_bits, OUTPUT_BITS.ragged if ragged else OUTPUT_BITS.usual)
    weights = (facts.parameters - embedding) * body_bits + embedding * output_bits
    return round(weights / 8) + facts.vocab_size * VOCABULARY_BYTES


def largest_tensor(facts: ModelFacts) -> int:
    """Weights of the model's largest tensor: what converter and llama-quantize hold at once.

    Mostly that is the embedding, vocabulary x hidden size. Else it is an FFN matrix, of which inspect knows
    no dimension: at most two of the three (gate and up in one, as Phi has them) of a layer's weights. Of a
    mixture of experts, whose experts are one tensor, it is one third.
    """
    embedding = min(facts.vocab_size * facts.hidden_size, facts.parameters)
    layer = (facts.parameters - embedding) / max(1, facts.layers)
    return max(embedding, round(layer * FFN_SHARE))


def kv_bytes_per_token(facts: ModelFacts) -> int:
    """Bytes of KV cache for one token: key and value of every layer and KV head, f16.

    Equals llama-server's own ``KV buffer size``: 360 MiB for SmolLM2 at 16,384 tokens. Where a model leaves
    another number of elements (``kv_elements``), llama.cpp keeps that one too: it allocates compressed keys
    alone for DeepSeek's attention (``is_mla`` in its llama-kv-cache.cpp) and nothing for layers without
    attention (``llama-memory-hybrid.cpp``). Layers with a sliding window count whole, an upper bound.
    """
    return (facts.kv_elements or 2 * facts.layers * facts.kv_heads * facts.head_dim) * KV_BYTES


def engine_memory(facts: ModelFacts, level: str, context_length: int, concurrency: int) -> Memory:
    """Memory of one llama-server, bytes.

    Args:
        facts: the model.
        level: of the served file, which is memory-mapped and counts whole.
        context_length: tokens of each request.
        concurrency: slots; each has its own KV cache of ``context_length``.
    """
    micro_batch = min(MICRO_BATCH, context_length)
    activations = 4 * micro_batch * (LIVE_FLOATS * facts.hidden_size + context_length)
    logits = 4 * concurrency * facts.vocab_size
    return Memory(
        weights=file_bytes(facts, level),
        kv_cache=kv_bytes_per_token(facts) * context_length * concurrency,
        activations=activations + logits,
        overhead=OVERHEAD,
    )


def sizes(facts: ModelFacts, level: str) -> Sizes:
    """Bytes of the artifacts on disk: the source as listed, f16 and level as computed.

    Of a model that comes as GGUF files the source is one level of it, and all that there is.
    """
    if facts.levels:
        size = file_bytes(facts, level)
        return Sizes(source=size, f16=size, level=size)
    return Sizes(
        source=facts.download_bytes or facts.weight_bytes,
        f16=file_bytes(facts, "F16"),
        level=file_bytes(facts, level),
    )


def logits_bytes(facts: ModelFacts) -> int:
    """Bytes of the log-probabilities that the unquantised model gives to every token, for each scored one.

    Two bytes each in llama-perplexity's file, and 8 a row. Measured for SmolLM2's vocabulary of 49,152:
    200,572,884 bytes; this gives 200,626,096.
    """
    rows = CHUNKS * SCORED
    return rows * 2 * (facts.vocab_size + LOGITS_HEAD) + LOGITS_TOKENS
