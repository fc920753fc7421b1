"""What was written to the cluster, as the API server itself counts it; for benchmarks."""

from __future__ import annotations

import http.client
import re
from collections import Counter

from hack.cluster.controlplane import ControlPlane
from slipway import resources
from slipway.resources import Resource

METRIC = "apiserver_request_total"
WRITING = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
# Of the kinds that the operator touches, these it only reads, or they are its election's.
NOT_WRITTEN = frozenset(
    {resources.POD, resources.SECRET, resources.NODE, resources.NAMESPACE, resources.LEASE}
)
WRITTEN = frozenset(resources.BY_KIND.values()) - NOT_WRITTEN


def written(cluster: ControlPlane, proof: dict[Resource, int]) -> int:
    """Writing requests on the kinds that the operator writes, refused ones too, since the API server's start.

    Status counts for our own kinds alone: that of Jobs is Kubernetes' own controllers'. ``proof`` says how
    many there must be of a kind, for the caller knows what was made: LookupError when there are fewer,
    because then the metric does not count what we think.
    """
    status, body = cluster.client.request("GET", f"{cluster.url}/metrics", timeout=30)
    if status != http.client.OK:
        raise OSError(f"GET {cluster.url}/metrics: {status}")
    counts = count(body.decode())
    for resource, least in proof.items():
        if counts[resource] < least:
            raise LookupError(f"{METRIC}: {counts[resource]} writes of {resource.plural}, {least} were made")
    return counts.total()


def count(text: str) -> Counter[Resource]:
    """Writing requests by kind, from the API server's metrics in Prometheus' text."""
    kinds = {(resource.group, resource.plural): resource for resource in WRITTEN}
    own = {resources.MODEL, resources.ARTIFACT}
    counts: Counter[Resource] = Counter()
    for labels, value in re.findall(rf"^{METRIC}{{(.*)}} (\S+)$", text, re.MULTILINE):
        of = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        resource = kinds.get((of["group"], of["resource"]))
        if resource and of["verb"] in WRITING and (not of["subresource"] or resource in own):
            counts[resource] += int(float(value))
    return counts
