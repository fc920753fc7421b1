"""What kubectl's table shows a person of an object."""

from __future__ import annotations

import re

from tests.cluster.namespaces import Cluster


def column(cluster: Cluster, kind: str, name: str, heading: str) -> str:
    """The object's value under the heading of ``kubectl get``; empty where it has none."""
    head, row = cluster.kubectl("get", kind, name).splitlines()
    place = re.search(rf"{heading} *", head)
    assert place, head
    end = place.end() if place.end() < len(head) else None
    return row[place.start() : end].strip()
