"""How a serving pod is looked after: health routes, and how it leaves; the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

LIVENESS_PERIOD_SECONDS: Final = 10
LIVENESS_FAILURES: Final = 12
"""Two minutes: llama-server's /health answered within 5 ms while every slot was busy, so only a hung server
fails this."""
REMOVAL_SECONDS: Final = 5
"""Until every kube-proxy has taken the pod out of the Service: seconds, even on busy nodes."""
DRAIN_SECONDS: Final = 300
"""Bound of the wait for running requests; a CPU writes 1,000 tokens in less."""
GRACE_MARGIN_SECONDS: Final = 25
WAIT: Final = """\
sleep {removal}
end=$(($(date +%s) + {bound}))
while [ "$(date +%s)" -lt "$end" ]; do
  grep -Eqs ': [0-9A-F]+:{port} [0-9A-F]+:[0-9A-F]+ 01 ' /proc/net/tcp /proc/net/tcp6 || exit 0
  sleep 1
done
"""
"""Wait until the pod is out of the Service, then until nobody is connected any more (state 01, established).

SIGTERM makes most servers cut what runs, and a request that comes then hangs until its caller gives up. A
quiet moment is not enough: a caller that keeps its connection sends the next request down the same one.
llama-server closes a connection after 5 s of quiet and after 100 requests, and no new ones come.
"""

FOLLOW: Final = """\
end=$(($(date +%s) + {bound}))
while [ "$(date +%s)" -lt "$end" ]; do
  if command -v curl >/dev/null; then
    curl -fs -m 5 -o /dev/null "http://$LWS_LEADER_ADDRESS:{port}{health}" || exit 0
  else
    timeout 5 bash -c "exec 3<>/dev/tcp/$LWS_LEADER_ADDRESS/{port}" 2>/dev/null || exit 0
  fi
  sleep 1
done
"""
"""Wait until the leader of one's group is gone: it answers its last callers by the help of every worker."""


@dataclass(frozen=True)
class Drain:
    """How a pod leaves without dropping a request.

    Attributes:
        pre_stop: command of the preStop hook; returns once no request is processed, or at its own bound.
        grace_seconds: terminationGracePeriodSeconds, longer than the hook's bound.
    """

    pre_stop: tuple[str, ...]
    grace_seconds: int


def readiness_probe(path: str) -> dict[str, Any]:
    """The server's own health, after the token of the startup probe."""
    return {**_get(path), "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3}


def liveness_probe(path: str) -> dict[str, Any]:
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


def follow(port: int, health: str) -> tuple[str, ...]:
    """PreStop command of a worker: it leaves after its leader, within the leader's own bound."""
    script = FOLLOW.format(bound=REMOVAL_SECONDS + DRAIN_SECONDS, port=port, health=health)
    return "/bin/sh", "-c", script


def _get(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}}
