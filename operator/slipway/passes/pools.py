"""A model with pools: one ModelDeployment for each, replicas dealt among them, one Service, one sum.

The pass over a ModelDeployment with ``spec.pools``; pure, called by ``model``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from slipway.api import reasons
from slipway.manifests.names import digest
from slipway.manifests.pools import build_group, build_pool, group_selector, pool_model
from slipway.manifests.service import service_url
from slipway.observe.observed import ModelObserved, Raw
from slipway.passes import planning, tries
from slipway.passes.outcome import Draft
from slipway.passes.pool_seen import Seen, see
from slipway.passes.pool_status import LOOK_SECONDS, pool_status, say
from slipway.passes.scene import Scene
from slipway.plan import deal
from slipway.plan.workload import KINDS, counts

PASSED_ON: Final = (tries.RETRY, planning.REPLAN)
"""Annotations by which a person asks for something: meant for every pool."""
PINNED: Final = "slipway.dev/pinned-for"
RESOLVING: Final = "slipway.dev/resolving-for"
"""Annotations of a pool's ModelDeployment: the wish that its revision answers, or is to answer."""
STATES: Final = ("observedGeneration", "pools", "url", "selector", "replicas", "readyReplicas", "progress")
"""Fields of status that a model with pools has; the rest is in the status of each pool."""


def share_out(scene: Scene, draft: Draft) -> None:
    """Deal replicas to the pools, ask for their ModelDeployments and the Service, sum up what they say."""
    wished = _wished(scene)
    before = {str(one["name"]): one for one in draft.fields.get("pools") or ()}
    draft.fields = {key: value for key, value in draft.fields.items() if key in STATES}
    pools = [see(scene, one, before.get(one.name, {}), draft.now) for one in scene.spec.pools or ()]
    order = deal.in_order([one.pool for one in pools])
    dealt = deal.deal(order, wished)
    ordered = sorted(pools, key=lambda one: [each.name for each in order].index(one.wish.name))
    _children(scene, ordered, dealt, draft)
    draft.fields["pools"] = [pool_status(scene, one, dealt[one.wish.name]) for one in ordered]
    draft.fields["url"] = f"{service_url(scene.owner.name, scene.owner.namespace, scene.settings)}/v1"
    selector = group_selector(scene.owner.name)
    draft.fields["selector"] = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    draft.fields["replicas"] = sum(int(one.status.get("replicas", 0)) for one in ordered)
    draft.fields["readyReplicas"] = sum(one.pool.ready for one in ordered)
    say(ordered, dealt, wished, draft)


def _wished(scene: Scene) -> int:
    """Replicas in all; an autoscaler writes them into the spec, and does nothing at zero."""
    scaling = scene.spec.autoscaling
    if scaling is None:
        return scene.spec.replicas
    return min(max(scene.spec.replicas, scaling.min_replicas or 1), scaling.max_replicas)


def _commit(scene: Scene, pools: Sequence[Seen]) -> str:
    """The commit that all pools serve; empty until the first pool has resolved it.

    What is resolved stays, whatever the branch does: the pools' own specs hold it, marked with the wish that
    it answers.
    """
    key = _inquiry(scene)
    for one in pools:
        meta = (one.model or {"metadata": {}})["metadata"]
        if one.model and (meta.get("annotations") or {}).get(PINNED) == key:
            return str(one.model["spec"]["model"]["revision"])
    first = pools[0]
    resolving = ((first.model or {}).get("metadata", {}).get("annotations") or {}).get(RESOLVING) == key
    if resolving and first.condition(reasons.SOURCE_RESOLVED).get("status") == "True":
        return str((first.status.get("source") or {}).get("commit", ""))
    return ""


def _inquiry(scene: Scene) -> str:
    """What a commit is resolved for: another wish resolves the branch anew."""
    model = scene.spec.model
    return digest([model.source, model.revision or "", scene.asked])


def _wished_models(scene: Scene, pools: Sequence[Seen], dealt: dict[str, int], draft: Draft) -> list[Raw]:
    """ModelDeployments of the pools: the first alone until it has resolved the commit."""
    marks = scene.seen.model["metadata"].get("annotations", {})
    asked = {key: marks[key] for key in PASSED_ON if key in marks}
    written = sorted(
        pools, key=lambda one: [each.name for each in scene.spec.pools or ()].index(one.wish.name)
    )
    commit, key = _commit(scene, written), _inquiry(scene)
    if not commit:
        draft.look_again(LOOK_SECONDS)
        first = written[0].wish
        return [build_pool(scene.owner, scene.spec, first, dealt[first.name], {**asked, RESOLVING: key})]
    pinned = scene.spec.model.model_copy(update={"revision": commit})
    spec = scene.spec.model_copy(update={"model": pinned})
    return [
        build_pool(scene.owner, spec, one.wish, dealt[one.wish.name], {**asked, PINNED: key}) for one in pools
    ]


def _children(scene: Scene, pools: Sequence[Seen], dealt: dict[str, int], draft: Draft) -> None:
    """Pools, Service, autoscaler; what served before there were pools goes once a pool answers."""
    draft.apply += _wished_models(scene, pools, dealt, draft)
    names = {pool_model(scene.owner.name, one.wish.name) for one in pools}
    draft.delete += [raw for raw in scene.seen.pools if raw["metadata"]["name"] not in names]
    if any(raw["kind"] in KINDS for raw in scene.seen.children) and not any(one.pool.ready for one in pools):
        return  # the Service stays before what answers
    rest = build_group(scene.owner, scene.spec)
    draft.apply += rest
    kept = {(one["kind"], one["metadata"]["name"]) for one in rest}
    draft.delete += [raw for raw in scene.seen.children if (raw["kind"], raw["metadata"]["name"]) not in kept]
    draft.delete += [*scene.seen.revisions, *(one.job for one in scene.seen.jobs)]


def dissolve(scene: Scene, draft: Draft) -> None:
    """For a model that has no pools any more: they answer until it does by itself."""
    if not scene.seen.pools:
        return
    if counts(scene.seen.workload).available:
        draft.delete += scene.seen.pools
    else:
        draft.apply = [one for one in draft.apply if one["kind"] != "Service"]


def suspended(seen: ModelObserved) -> list[Raw]:
    """The pools as they are, suspended like the whole."""
    found = []
    for raw in seen.pools:
        kept = ("name", "namespace", "labels", "ownerReferences")
        meta = {key: raw["metadata"][key] for key in kept}
        marks = raw["metadata"].get("annotations") or {}
        meta["annotations"] = {key: marks[key] for key in (*PASSED_ON, PINNED, RESOLVING) if key in marks}
        body = {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": meta}
        found.append({**body, "spec": {**raw["spec"], "suspend": True}})
    return found
