"""The running operator's replicas: who leads, and what they count."""

from __future__ import annotations

import re
from typing import Any

from tests.cluster.access import DIRECT
from tests.cluster.namespaces import SYSTEM

LEASE = "slipway-operator"
SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)


def replicas() -> list[dict[str, Any]]:
    """The operator's pods that stay."""
    pods = SYSTEM.list("pods", "app.kubernetes.io/name=slipway")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def leader() -> dict[str, Any]:
    """The pod that holds the Lease; empty while none does."""
    holder = SYSTEM.get("leases", LEASE).get("spec", {}).get("holderIdentity", "")
    return next((pod for pod in replicas() if holder.startswith(f"{pod['metadata']['name']}_")), {})


def counted(pod: dict[str, Any]) -> dict[tuple[str, str], float]:
    """The replica's Prometheus metrics by name and labels."""
    with DIRECT.open(f"http://{pod['status']['podIP']}:8080/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {(m["name"], m["labels"] or ""): float(m["value"]) for m in SAMPLE.finditer(text)}


def total(pod: dict[str, Any], name: str, *, without: str = "nothing") -> float:
    """The sum of a metric over its labels, less those that hold the given text."""
    return sum(value for (of, labels), value in counted(pod).items() if of == name and without not in labels)
