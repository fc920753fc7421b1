"""A child that admission rewrites settles after one mark: it is not wished again with every pass."""

from __future__ import annotations

import copy
from typing import Any

from slipway.apply import Applier
from slipway.manifests import held
from slipway.resources import Resource

Raw = dict[str, Any]
WISHED: Raw = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "m", "namespace": "n", "ownerReferences": [{"kind": "M", "name": "m", "uid": "u"}]},
    "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "ours"}]}}},
}


class Rewriting:
    """An API server whose webhook takes every image from a mirror."""

    def __init__(self) -> None:
        self.writes = 0

    async def get(self, resource: Resource, namespace: str, name: str) -> Raw:
        raise NotImplementedError

    async def apply(self, _: Resource, body: Raw) -> Raw:
        self.writes += 1
        answer = copy.deepcopy(body)
        answer["metadata"].pop("resourceVersion", None)
        answer["metadata"]["uid"] = "d"
        answer["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror/ours"
        return answer


async def test_a_rewritten_child_settles_and_heals_when_somebody_else_changes_it() -> None:
    api, seen = Rewriting(), list[Raw]()
    applier = Applier(api, seen.append, "me")  # type: ignore[arg-type]
    first = {**WISHED, "metadata": {**WISHED["metadata"], "uid": "d"}}
    assert await applier.apply_child(WISHED, first, "u")
    assert api.writes == 2, "the wish, then the mark of what became of it"
    assert held.HELD in seen[-1]["metadata"]["annotations"]
    assert not await applier.apply_child(WISHED, seen[-1], "u")
    assert api.writes == 2
    edited = copy.deepcopy(seen[-1])
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = "by hand"
    assert await applier.apply_child(WISHED, edited, "u"), "the mark covers what admission did, nothing else"
