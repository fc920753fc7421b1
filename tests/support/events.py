"""The Events that the operator posted, as ``kubectl events`` would show them."""

from __future__ import annotations

from collections import Counter

from slipway import resources
from slipway.apply import CONTROLLER
from slipway.kube import Raw
from tests.support.cluster import Cluster

Told = tuple[str, str, str, str]
"""What an event says: type, kind of the object, reason, and the condition that its note begins with."""


async def posted(cluster: Cluster) -> list[Raw]:
    """Every event that the operator posted in the namespace."""
    return [raw for raw in await cluster.list(resources.EVENT) if raw["reportingController"] == CONTROLLER]


async def told(cluster: Cluster) -> Counter[Told]:
    """What they say, and how often."""
    return Counter(
        (raw["type"], raw["regarding"]["kind"], raw["reason"], raw["note"].partition(":")[0])
        for raw in await posted(cluster)
    )
