"""The demo's model is deleted, and everything goes with it; behind all tests that look at it."""

from __future__ import annotations

import pytest

from tests.cluster.access import CHILDREN
from tests.cluster.namespaces import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def test_delete_takes_everything_of_a_served_model_with_it(served: Cluster) -> None:
    managed = "app.kubernetes.io/managed-by=slipway"
    kinds = {one["kind"] for one in served.list(CHILDREN, managed)}
    assert len(kinds) >= 9, kinds
    served.kubectl("delete", "mdl", "smollm2")
    served.wait("everything collected", lambda: not served.list(CHILDREN, managed), 120)
