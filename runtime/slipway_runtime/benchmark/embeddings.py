"""A short load on a model that makes vectors: texts to its embeddings route. Called by load.py.

No tokens come one after the other, so what counts is how long an answer takes and how many come a second.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from slipway_runtime.benchmark.endpoint import NEVER, Load, read_url
from slipway_runtime.contract import EMBEDDINGS
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER

TOOL: Final = f"slipway-runtime {EMBEDDINGS}"
MAX_REQUESTS: Final = 1000
"""At one concurrency; a vector takes milliseconds, and a hundred of them would tell little of a rate."""
WORDS_A_TOKEN: Final = 0.75
"""Four tokens for three words of English, as everywhere: with the tokens that begin and end a text it stays
within what was asked for."""
LEAST_SECONDS: Final = 10.0
"""A request is given as long as a measurement takes, and this at least."""
VOCABULARY: Final = (
    "river", "stone", "market", "winter", "garden", "letter", "engine", "harbor", "school", "window",
    "silver", "mountain", "doctor", "bridge", "number", "summer", "forest", "island", "paper", "music",
    "travel", "kitchen", "history", "morning", "village", "captain", "weather", "library", "machine",
)  # fmt: skip
"""Frequent words, about a token each in any vocabulary."""


@dataclass(frozen=True)
class Answer:
    """One request: seconds to its whole answer, the tokens that the server counted, whether it succeeded."""

    seconds: float
    tokens: int
    good: bool


def measure(job: Job, load: Load) -> tuple[str, list[dict[str, Any]]]:
    """Return the tool's name, and the figures of ``read_level`` for each concurrency."""
    levels = []
    for index, concurrency in enumerate(load.concurrencies, 1):
        answers, seconds = run(load, concurrency)
        levels.append(read_level(concurrency, answers, seconds))
        job.progress.report(index, len(load.concurrencies))
    return TOOL, levels


def run(load: Load, concurrency: int) -> tuple[list[Answer], float]:
    """Return all answers, and the seconds from the first request to the last answer.

    After ``load.seconds`` no request is started any more; those that are under way still count.
    """
    stop, began = threading.Event(), time.monotonic()
    texts = _texts(load, concurrency)
    lock = threading.Lock()
    answers: list[Answer] = []

    def ask() -> None:
        while not stop.is_set() and time.monotonic() - began < load.seconds:
            with lock:
                text = next(texts, None)
            if text is None:
                return
            answer = _ask(load, text)
            with lock:
                answers.append(answer)

    with ThreadPoolExecutor(concurrency) as workers:
        try:
            for worker in [workers.submit(ask) for _ in range(concurrency)]:
                worker.result()
        finally:
            stop.set()
    return answers, time.monotonic() - began


def _texts(load: Load, concurrency: int) -> Iterator[str]:
    """Texts that no cache has seen."""
    # Of no account: another text each time is all that is asked of it.
    dice = random.Random(f"{load.seed}-{concurrency}")  # noqa: S311
    words = max(1, int(load.prompt_tokens * WORDS_A_TOKEN))
    for _ in range(MAX_REQUESTS):
        yield " ".join(dice.choices(VOCABULARY, k=words))


def _ask(load: Load, text: str) -> Answer:
    body = json.dumps({"model": load.model, "input": text}).encode()
    began = time.monotonic()
    try:
        said = json.loads(
            read_url(f"{load.endpoint}{EMBEDDINGS}", body, max(LEAST_SECONDS, float(load.seconds)))
        )
        seconds = time.monotonic() - began
        good = bool(said["data"][0]["embedding"])
        return Answer(seconds, int((said.get("usage") or {}).get("prompt_tokens") or 0), good)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        LOGGER.warning("a request failed: %s", error)
        return Answer(time.monotonic() - began, 0, good=False)


def read_level(concurrency: int, answers: Sequence[Answer], seconds: float) -> dict[str, Any]:
    """Return the figures of one concurrency.

    Returns:
        ``{"concurrency", "requests", "errors"}`` as numbers; as strings ``requestsPerSecond``,
        ``inputTokensPerSecond`` (as the server counts them; absent where it counts none), ``latencyP50Ms``
        and ``latencyP95Ms`` of good answers. ``tokensPerSecond`` is 0, as no token is written, and
        ``ttftP50Ms`` and ``ttftP95Ms`` are the latency: a vector comes whole, its first part with its last.
    """
    good = sorted(one.seconds for one in answers if one.good)
    tokens = sum(one.tokens for one in answers if one.good)
    p50, p95 = (_percentile(good, share) for share in (0.5, 0.95))
    return {
        "concurrency": concurrency,
        "requests": len(good),
        "errors": len(answers) - len(good),
        "requestsPerSecond": f"{len(good) / seconds:.2f}",
        "tokensPerSecond": "0.0",
        "ttftP50Ms": p50,
        "ttftP95Ms": p95,
        **({"inputTokensPerSecond": f"{tokens / seconds:.1f}"} if tokens else {}),
        "latencyP50Ms": p50,
        "latencyP95Ms": p95,
    }


def _percentile(seconds: Sequence[float], share: float) -> str:
    """Milliseconds of the nearest rank; ``NEVER`` where nothing was answered."""
    return f"{1000 * seconds[math.ceil(share * len(seconds)) - 1]:.0f}" if seconds else NEVER
