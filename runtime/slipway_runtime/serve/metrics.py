"""The server's metrics, in a registry of their own. Set by the engine and by ``app``."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX = "slipway_transformers_"
TTFT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class Metrics:
    """Everything that ``/metrics`` shows; names: `PREFIX` and the attribute's (counters: ``_total``)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        to = self.registry
        self.requests_running = Gauge(f"{PREFIX}requests_running", "Requests that generate now.", registry=to)
        self.requests_waiting = Gauge(f"{PREFIX}requests_waiting", "Requests in the queue.", registry=to)
        self.prompt_tokens = Counter(f"{PREFIX}prompt_tokens", "Tokens of prompts.", registry=to)
        self.generated_tokens = Counter(f"{PREFIX}generated_tokens", "Tokens of answers.", registry=to)
        self.requests = Counter(
            f"{PREFIX}requests",
            "Requests for an answer, by route and HTTP status (499: the client went away).",
            ["route", "code"],
            registry=to,
        )
        self.time_to_first_token_seconds = Histogram(
            f"{PREFIX}time_to_first_token_seconds",
            "From a request's arrival, its wait included, to its first token.",
            buckets=TTFT_BUCKETS,
            registry=to,
        )
        self.request_duration_seconds = Histogram(
            f"{PREFIX}request_duration_seconds",
            "From a request's arrival to the end of its answer.",
            buckets=DURATION_BUCKETS,
            registry=to,
        )

    def watch(self, running: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Let the gauges show what these return when they are read."""
        self.requests_running.set_function(running)
        self.requests_waiting.set_function(waiting)

    def render(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)
