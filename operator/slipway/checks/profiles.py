"""Thresholds of the checklist as data, each with its source; read by the rules and by docs/checklist.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A limit, its unit, and where the figure comes from."""

    limit: float
    unit: str
    source: str

    def __str__(self) -> str:
        """Limit with unit, for example ``5000 ms``."""
        return f"{self.limit:g} {self.unit}".strip()


@dataclass(frozen=True)
class Profile:
    """One set of thresholds.

    Attributes:
        about: for which deployments it is meant.
        ttft_p50: time to first token, median, at most; ms, at every measured concurrency.
        ttft_p95: same, 95th percentile.
        tokens_per_second: generated tokens a second for each running request, at least.
        error_rate: failed requests at each measured concurrency, at most; percent.
        output_tokens: of each request of the benchmark; not a limit, the rate of requests follows from it.
        requests: measured at a concurrency, at least; fewer can't prove a percentile.
        replicas: ready engine pods, at least.
        nodes: different nodes that these pods run on, at least.
        claim_free: unused part of the artifact's claim, at least; percent.
        acceptance: guessed tokens that the model takes, at least; percent.
        speculative_concurrency: requests at once with speculative decoding, at most.
    """

    name: str
    about: str
    ttft_p50: Threshold
    ttft_p95: Threshold
    tokens_per_second: Threshold
    error_rate: Threshold
    output_tokens: Threshold
    requests: Threshold
    replicas: Threshold
    nodes: Threshold
    claim_free: Threshold
    acceptance: Threshold
    speculative_concurrency: Threshold


_ERROR_RATE = Threshold(1, "%", "ours: 99 % of requests answered, the lowest objective in common use")
_REQUESTS = Threshold(
    5, "requests", "ours: with fewer, one slow request decides the median as well as the 95th percentile"
)
_OUTPUT_TOKENS = Threshold(32, "tokens", "the benchmark Job asks for this many (SLIPWAY_OUTPUT_TOKENS)")
_CLAIM_FREE = Threshold(
    5, "%", "mke2fs keeps 5 % of an ext4 volume for root (-m), which a non-root Job can't write to"
)
_ACCEPTANCE = Threshold(50, "%", "ours: below, more than half of what the draft computes is thrown away")
_SPECULATIVE_CONCURRENCY = Threshold(
    16,
    "requests",
    "ours: checking guesses is cheap while hardware waits for weights, and vLLM's guide offers guessing for "
    "low to medium load that is bound by memory",
)
_REPLICAS = Threshold(2, "replicas", "one pod is one drain, crash or eviction away from no answer")

EDGE = Profile(
    name="edge",
    about="CPU nodes: small machines, few users, often one node",
    ttft_p50=Threshold(
        2000, "ms", "MLPerf Inference v4.0, Llama 2 70B server scenario: TTFT at most 2000 ms (P99)"
    ),
    ttft_p95=Threshold(
        5000, "ms", "ours: half of the 10 s after which people turn away (Nielsen, Response Times, 1993)"
    ),
    tokens_per_second=Threshold(
        5,
        "tokens/s",
        "reading speed: 238 words a minute (Brysbaert, 2019), 4 tokens for 3 words: 5.3 tokens/s",
    ),
    error_rate=_ERROR_RATE,
    output_tokens=_OUTPUT_TOKENS,
    requests=_REQUESTS,
    replicas=_REPLICAS,
    nodes=Threshold(1, "node(s)", "ours: an edge site often is one node; a second pod still covers a crash"),
    claim_free=_CLAIM_FREE,
    acceptance=_ACCEPTANCE,
    speculative_concurrency=_SPECULATIVE_CONCURRENCY,
)
CHAT = Profile(
    name="chat",
    about="GPU nodes: many people who wait for an answer",
    ttft_p50=Threshold(
        450, "ms", "MLPerf Inference v5.0, Llama 2 70B interactive scenario: TTFT at most 450 ms (P99)"
    ),
    ttft_p95=Threshold(
        1000, "ms", "1 s is the limit for an uninterrupted flow of thought (Nielsen, Response Times, 1993)"
    ),
    tokens_per_second=Threshold(10, "tokens/s", "ours: twice reading speed, so that nobody waits at a word"),
    error_rate=_ERROR_RATE,
    output_tokens=_OUTPUT_TOKENS,
    requests=_REQUESTS,
    replicas=_REPLICAS,
    nodes=Threshold(2, "node(s)", "the loss of one node must leave an answer"),
    claim_free=_CLAIM_FREE,
    acceptance=_ACCEPTANCE,
    speculative_concurrency=_SPECULATIVE_CONCURRENCY,
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (EDGE, CHAT)}
