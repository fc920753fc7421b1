"""What a benchmark asks of whom: the load, and the model's own Service. For the files of this folder."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Final

from slipway_runtime.contract import EMBEDDINGS
from slipway_runtime.errors import RequestError, TransientError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER

CONNECT_SECONDS: Final = 10.0
METRIC_PREFIX: Final = "llamacpp:"
METRICS_PATH: Final = "/metrics"
NEVER: Final = "inf"
"""The time to an answer that did not come: no threshold is as large."""


@dataclass(frozen=True)
class Load:
    """What is asked of the server.

    Attributes:
        endpoint: base URL, without ``/v1``.
        model: the served name.
        concurrencies: requests in flight, one measurement each.
        prompt_tokens: of each prompt, before the chat template is added.
        output_tokens: of each answer, enforced.
        seconds: bound of each measurement.
        seed: decides the prompts.
        vectors: the model is asked for embeddings, not for text.
    """

    endpoint: str
    model: str
    concurrencies: tuple[int, ...]
    prompt_tokens: int
    output_tokens: int
    seconds: int
    seed: int
    vectors: bool = False


def read_load(job: Job) -> Load:
    """Return what the environment asks for; RequestError MissingInput when it makes no sense."""
    text = job.environment.get("SLIPWAY_CONCURRENCIES") or "1,4"
    try:
        concurrencies = tuple(int(part) for part in text.split(","))
    except ValueError:
        concurrencies = ()
    if not concurrencies or min(concurrencies) < 1:
        raise RequestError("MissingInput", f"SLIPWAY_CONCURRENCIES must be numbers like 1,4, and is {text!r}")
    return Load(
        endpoint=job.require("SLIPWAY_ENDPOINT").rstrip("/"),
        model=job.require("SLIPWAY_MODEL_NAME"),
        concurrencies=concurrencies,
        prompt_tokens=job.number("SLIPWAY_PROMPT_TOKENS", 128),
        output_tokens=job.number("SLIPWAY_OUTPUT_TOKENS", 32),
        seconds=job.number("SLIPWAY_BENCHMARK_SECONDS", 20),
        seed=job.number("SLIPWAY_BENCHMARK_SEED", secrets.randbits(31)),
        vectors=job.environment.get("SLIPWAY_BENCHMARK_ROUTE") == EMBEDDINGS,
    )


def require_answer(endpoint: str) -> None:
    """Refuse to measure what does not answer at all; TransientError EndpointUnreachable."""
    try:
        read_url(f"{endpoint}/v1/models")
    except (OSError, ValueError) as error:
        raise TransientError(
            "EndpointUnreachable",
            f"{endpoint}/v1/models does not answer: {error}. Are pods of the model ready?",
        ) from error


def read_metrics(endpoint: str, path: str) -> str | None:
    """Return the engine's metrics, in Prometheus' text form; None when they don't answer."""
    try:
        return read_url(f"{endpoint}{path}")
    except (OSError, ValueError) as error:
        LOGGER.warning("%s%s does not answer: %s", endpoint, path, error)
        return None


def read_url(url: str, body: bytes | None = None, seconds: float = CONNECT_SECONDS) -> str:
    """Return what the model's own Service answers; OSError when it does not, ValueError for a strange URL.

    With a body, JSON, it is a POST.

    Never through a proxy: the Service is inside the cluster.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no HTTP address")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - see above
        with opener.open(request, timeout=seconds) as answer:
            return str(answer.read().decode("utf-8", errors="replace"))
    except urllib.error.HTTPError as error:
        error.close()
        raise ConnectionError(f"answered {error.code} {error.reason}") from error
