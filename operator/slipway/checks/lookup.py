"""Reads containers, selectors and quantities out of observed objects. For rules only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.checks.base import Finding, Input, Object
from slipway.plan.quantities import quantity


def amount(text: str | float | None) -> float:
    """Kubernetes quantity as a number (bytes, cores); 0 for absent."""
    return quantity(text or 0)


def mebibytes(count: float) -> str:
    """Bytes as ``123 MiB``."""
    return f"{count / 2**20:.0f} MiB"


def dig(source: Any, *path: str) -> Any:
    """Value at a path of nested mappings, None where a step is absent."""
    for step in path:
        if not isinstance(source, Mapping):
            return None
        source = source.get(step)
    return source


def deployment(given: Input) -> Object:
    """The engine's Deployment, or LeaderWorkerSet in its shape; empty when it is absent."""
    return given.children.get("Deployment", {})


def pod_spec(given: Input) -> Object:
    """Pod spec of the engine's Deployment, empty when it is absent."""
    return dig(deployment(given), "spec", "template", "spec") or {}


def containers(given: Input) -> Sequence[Object]:
    """Containers of the engine's pod, without init containers."""
    return pod_spec(given).get("containers") or ()


def pod_labels(given: Input) -> Mapping[str, str]:
    """Labels that every engine pod carries."""
    return dig(deployment(given), "spec", "template", "metadata", "labels") or {}


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; of expressions we write In alone, another counts as not matching."""
    if selector is None:
        return False
    for one in selector.get("matchExpressions") or ():
        if one.get("operator") != "In" or labels.get(one.get("key")) not in (one.get("values") or ()):
            return False
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


def where(kind: str, found: Object, path: str, given: Input) -> str:
    """Evidence text: ``Deployment default/qwen spec.replicas (generation 3)``."""
    name, kind = dig(found, "metadata", "name") or given.name, found.get("kind") or kind
    generation = dig(found, "metadata", "generation")
    seen = f" (generation {generation})" if generation else ""
    return f"{kind} {given.namespace}/{name} {path}{seen}"


def no_deployment(given: Input, threshold: str) -> Finding:
    """SKIP of a rule that reads the engine's Deployment while there is none."""
    return Finding(
        "SKIP", "no Deployment yet", threshold, f"Deployment {given.namespace}/{given.name}: absent"
    )
