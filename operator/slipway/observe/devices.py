"""Which pods have a node's accelerators now: read when a plan needs it, node by node. Called by the observer.

No watch serves this: an operator in a big cluster must not hold everybody's pods, and only nodes with devices
matter, at the moment of a decision.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

from slipway import resources
from slipway.errors import ApiError
from slipway.kube import Kube
from slipway.observe.observed import Raw

LOG = logging.getLogger(__name__)
FRESH_SECONDS: Final = 15.0
"""A node's pods are read at most this often, for all models together."""
AT_ONCE: Final = 8
PAGE: Final = "250"


class DevicePods:
    """Pods with devices, by node, each read when it is asked for.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, kube: Kube, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._clock = clock
        self._held: dict[str, tuple[float, tuple[Raw, ...]]] = {}
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._bound = asyncio.Semaphore(AT_ONCE)

    async def on(self, nodes: Iterable[str]) -> list[Raw]:
        """Pods on these nodes that request an extended resource, trimmed to that.

        A node whose pods can't be read (an installation for some namespaces may not) counts as free.
        """
        found = await asyncio.gather(*(self._of_node(node) for node in nodes))
        return [pod for pods in found for pod in pods]

    async def _of_node(self, node: str) -> tuple[Raw, ...]:
        async with self._reading[node]:  # who comes while another reads has its answer
            held = self._held.get(node)
            if held is None or self._clock() - held[0] >= FRESH_SECONDS:
                pods = await self._read(node)
                held = self._held[node] = (self._clock(), pods)
        return held[1]

    async def _read(self, node: str) -> tuple[Raw, ...]:
        async with self._bound:
            try:
                return await self._pages(node)
            except ApiError as error:
                LOG.info("devices in use are not known", extra={"node": node, "error": str(error)})
                return ()

    async def _pages(self, node: str) -> tuple[Raw, ...]:
        params = {"fieldSelector": f"spec.nodeName={node}", "limit": PAGE}
        found: list[Raw] = []
        while True:
            page = await self._kube.list_page(resources.POD, None, params)
            found += [trimmed for raw in page["items"] or () if (trimmed := _trimmed(raw)) is not None]
            params["continue"] = page["metadata"].get("continue", "")
            if not params["continue"]:
                return tuple(found)


def _trimmed(raw: Raw) -> Raw | None:
    """What counts devices; None for a pod without."""
    spec = raw.get("spec") or {}
    kept = {part: [_limits(one) for one in spec.get(part) or ()] for part in ("containers", "initContainers")}
    if not any(one["resources"]["limits"] for part in kept.values() for one in part):
        return None
    meta, status = raw["metadata"], raw.get("status") or {}
    return {
        "metadata": {"namespace": meta.get("namespace", ""), "labels": meta.get("labels") or {}},
        "spec": {"nodeName": spec.get("nodeName", ""), **kept},
        "status": {"phase": status.get("phase", "")},
    }


def _limits(container: Raw) -> dict[str, Any]:
    limits = (container.get("resources") or {}).get("limits") or {}
    return {"resources": {"limits": {name: one for name, one in limits.items() if "/" in name}}}
