"""One generated token, asked for by OpenAI's routes or an engine's own; for engine files."""

from __future__ import annotations

import math
from typing import Any, Final

from slipway.engines.base import Launch

STARTUP_PERIOD_SECONDS: Final = 1
"""A look a second: the first token should not wait for the probe."""
STARTUP_BASE_SECONDS: Final = 600
"""Importing PyTorch, compiling kernels and capturing graphs take minutes before the first token."""
STARTUP_BYTES_PER_SECOND: Final = 20_000_000
"""The slowest volume of use (a shared spinning disk): all weights are read before the first token."""
TOKEN_SECONDS: Final = 60
"""The first request may compile; later ones answer in a fraction."""
SLOW_START_SECONDS: Final = 10
"""Before this a PyTorch engine only imports: each look costs it time on few cores. Judged."""

COMPLETION: Final = (
    "/v1/completions",
    '{{"model":"{model}","prompt":"a","max_tokens":1,"temperature":0}}',
    '"completion_tokens": ?1',
)
"""Route, body and answer: needs one generated token of this very server; its health alone is not believed."""
EMBEDDING: Final = ("/v1/embeddings", '{{"model":"{model}","input":"a"}}', '"embedding"')
BY_CURL: Final = (
    "curl -fsS -m {seconds} -H 'Content-Type: application/json' -d '{body}' "
    "http://127.0.0.1:{port}{path} | grep -Eq '{expect}'"
)
BY_BASH: Final = """\
exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1
printf 'POST {path} HTTP/1.0\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\n' >&3
printf 'Content-Length: {length}\\r\\n\\r\\n%s' '{body}' >&3
timeout {seconds} grep -Eq '{expect}' <&3
"""
"""The same for images without curl. HTTP/1.0: the server closes, so the answer has an end."""


def startup_probe(launch: Launch, port: int, *, curl: bool = True, delay: int = 0) -> dict[str, Any]:
    """One generated token (or one vector) inside the pod; the budget grows with the weights.

    Args:
        launch: says the model's name, size, and whether it makes vectors.
        port: of the server.
        curl: the image has it; else it has bash.
        delay: seconds in which no answer can come.
    """
    asked = EMBEDDING if launch.embeds else COMPLETION
    return answer_probe(launch, port, asked, curl=curl, delay=delay)


def answer_probe(
    launch: Launch, port: int, asked: tuple[str, str, str], *, curl: bool = True, delay: int = 0
) -> dict[str, Any]:
    """A probe that asks by a route, a body and an expression for the answer, as ``COMPLETION`` is."""
    path, form, expect = asked
    body = form.format(model=launch.model_name)
    values = {"seconds": TOKEN_SECONDS, "port": port, "path": path, "body": body, "expect": expect}
    script = (BY_CURL if curl else BY_BASH).format(**values, length=len(body))
    budget = STARTUP_BASE_SECONDS + launch.plan.memory.weights / STARTUP_BYTES_PER_SECOND
    return {
        "exec": {"command": ["/bin/sh" if curl else "/bin/bash", "-c", script]},
        **({"initialDelaySeconds": delay} if delay else {}),
        "periodSeconds": STARTUP_PERIOD_SECONDS,
        "timeoutSeconds": TOKEN_SECONDS + 1,
        "failureThreshold": math.ceil(budget / STARTUP_PERIOD_SECONDS),
    }
