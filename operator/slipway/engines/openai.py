"""Probes and drain of servers with OpenAI's routes; for the files of such engines."""

from __future__ import annotations

import math
from typing import Any, Final

from slipway.engines.base import Drain, Launch

STARTUP_PERIOD_SECONDS: Final = 2
STARTUP_BASE_SECONDS: Final = 600
"""Importing PyTorch, compiling kernels and capturing graphs take minutes before the first token."""
STARTUP_BYTES_PER_SECOND: Final = 20_000_000
"""The slowest volume of use (a shared spinning disk): all weights are read before the first token."""
TOKEN_SECONDS: Final = 60
"""The first request may compile; later ones answer in a fraction."""
LIVENESS_PERIOD_SECONDS: Final = 10
LIVENESS_FAILURES: Final = 12
REMOVAL_SECONDS: Final = 5
"""Until every kube-proxy has taken the pod out of the Service: seconds, even on busy nodes."""
DRAIN_SECONDS: Final = 300
GRACE_MARGIN_SECONDS: Final = 25

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
WAIT: Final = """\
sleep {removal}
end=$(($(date +%s) + {bound}))
while [ "$(date +%s)" -lt "$end" ]; do
  grep -Eqs ': [0-9A-F]+:{port} [0-9A-F]+:[0-9A-F]+ 01 ' /proc/net/tcp /proc/net/tcp6 || exit 0
  sleep 1
done
"""
"""Wait until the pod is out of the Service, then until nobody is connected any more (state 01)."""


def startup_probe(launch: Launch, port: int, *, embeds: bool = False, curl: bool = True) -> dict[str, Any]:
    """One generated token (or one vector) inside the pod; the budget grows with the weights.

    Args:
        launch: says the model's name and size.
        port: of the server.
        embeds: ask for a vector.
        curl: the image has it; else it has bash.
    """
    return answer_probe(launch, port, EMBEDDING if embeds else COMPLETION, curl=curl)


def answer_probe(
    launch: Launch, port: int, asked: tuple[str, str, str], *, curl: bool = True
) -> dict[str, Any]:
    """A probe that asks by a route, a body and an expression for the answer, as ``COMPLETION`` is."""
    path, form, expect = asked
    body = form.format(model=launch.model_name)
    values = {"seconds": TOKEN_SECONDS, "port": port, "path": path, "body": body, "expect": expect}
    script = (BY_CURL if curl else BY_BASH).format(**values, length=len(body))
    budget = STARTUP_BASE_SECONDS + launch.plan.memory.weights / STARTUP_BYTES_PER_SECOND
    return {
        "exec": {"command": ["/bin/sh" if curl else "/bin/bash", "-c", script]},
        "periodSeconds": STARTUP_PERIOD_SECONDS,
        "timeoutSeconds": TOKEN_SECONDS + 1,
        "failureThreshold": math.ceil(budget / STARTUP_PERIOD_SECONDS),
    }


def readiness_probe(path: str = "/health") -> dict[str, Any]:
    """The server's own health, after the token of the startup probe."""
    return {**_get(path), "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3}


def liveness_probe(path: str = "/health") -> dict[str, Any]:
    """The same, with patience: a restart costs every running request."""
    return {
        **_get(path),
        "periodSeconds": LIVENESS_PERIOD_SECONDS,
        "timeoutSeconds": LIVENESS_PERIOD_SECONDS,
        "failureThreshold": LIVENESS_FAILURES,
    }


def drain(port: int) -> Drain:
    """Leave the Service, then wait for callers to go, at most five minutes."""
    script = WAIT.format(removal=REMOVAL_SECONDS, bound=DRAIN_SECONDS, port=f"{port:04X}")
    return Drain(
        pre_stop=("/bin/sh", "-c", script),
        grace_seconds=REMOVAL_SECONDS + DRAIN_SECONDS + GRACE_MARGIN_SECONDS,
    )


def _get(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}}
