"""A model with pools: one ModelDeployment for each, replicas dealt among them, one Service, one sum.

The pass over a ModelDeployment with ``spec.pools``; pure, called by ``model``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from slipway.api import reasons
from slipway.api.base import Model
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.manifests import kueue
from slipway.manifests.names import digest
from slipway.manifests.pools import build_group, build_pool, group_selector, pool_model
from slipway.manifests.service import service_url
from slipway.observe.observed import ModelObserved, Raw
from slipway.passes import planning, serving, tries
from slipway.passes.outcome import Draft
from slipway.passes.pool_seen import Seen, see
from slipway.passes.pool_status import LOOK_SECONDS, pool_status, say
from slipway.passes.scene import Scene
from slipway.plan import deal
from slipway.plan.companions import CALIBRATION, DRAFT, key_of, wanted
from slipway.plan.workload import counts

PASSED_ON: Final = (tries.RETRY, planning.REPLAN)
"""Annotations by which a person asks for something: meant for every pool."""
PINNED: Final = "slipway.dev/pinned-for"
RESOLVING: Final = "slipway.dev/resolving-for"
"""Annotations of a pool's ModelDeployment: the wish with its commit, and the wish that it is to resolve."""
T = TypeVar("T", bound=Model)
STATES: Final = ("observedGeneration", "pools", "url", "selector", "replicas", "readyReplicas", "progress")
"""Fields of status that a model with pools has; the rest is in the status of each pool."""


def share_out(scene: Scene, draft: Draft) -> None:
    """Deal replicas to the pools, ask for their ModelDeployments and the Service, sum up what they say."""
    wished = _wished(scene)
    before = {str(one["name"]): one for one in draft.fields.get("pools") or ()}
    draft.fields = {key: value for key, value in draft.fields.items() if key in STATES}
    pools = [see(scene, one, before.get(one.name, {}), draft.now) for one in scene.spec.pools or ()]
    named = {one.wish.name: one for one in pools}
    ordered = [named[one.name] for one in deal.in_order([one.pool for one in pools])]
    dealt = deal.deal([one.pool for one in ordered], wished)
    _children(scene, pools, dealt, draft)
    draft.fields["pools"] = [pool_status(scene, one, dealt[one.wish.name]) for one in ordered]
    draft.fields["url"] = f"{service_url(scene.owner.name, scene.owner.namespace, scene.settings)}/v1"
    selector = group_selector(scene.owner.name)
    draft.fields["selector"] = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    serving.report_replicas(scene.seen, draft)
    say(ordered, dealt, wished, draft, before=serving.answering(scene.seen))


def _wished(scene: Scene) -> int:
    """Replicas in all; an autoscaler writes them into the spec, and does nothing at zero."""
    scaling = scene.spec.autoscaling
    if scaling is None:
        return scene.spec.replicas
    return min(max(scene.spec.replicas, scaling.min_replicas or 1), scaling.max_replicas)


def _commits(scene: Scene, pools: Sequence[Seen]) -> dict[str, str]:
    """The commits that all pools serve: of the model (``""``) and of what is beside it, by its key.

    Empty until the first pool has resolved them. What is resolved stays, whatever the branches do: a mark on
    the pools holds it, with the wish that it answers.
    """
    wish = _inquiry(scene)
    for one in pools:
        answered, *pinned = _mark(one, PINNED).split("/")
        if answered == wish and pinned:
            return {name: commit for name, _, commit in (pair.rpartition("=") for pair in pinned)}
    first = pools[0]
    resolved = first.condition(reasons.SOURCE_RESOLVED, current=True).get("status") == "True"
    planned = first.condition(reasons.PLANNED, current=True)
    if _mark(first, RESOLVING) != wish or not resolved:
        return {}
    named = {one.key: one.source for one in wanted(scene.spec)}
    if named and planned.get("status") not in ("True", "False"):
        return {}  # companions are in status once they are pinned; where nothing fits, others go on without
    beside = ((_key(one), one) for one in first.status.get("companions") or ())
    # The first pool may have a draft of its own.
    found = {key: str(one["commit"]) for key, one in beside if named.get(key) == one["uri"]}
    return {"": str((first.status.get("source") or {}).get("commit", "")), **found}


def _key(companion: dict[str, Any]) -> str:
    return key_of(companion["name"], companion["kind"])


def _mark(one: Seen, key: str) -> str:
    marks = (one.model or {"metadata": {}})["metadata"].get("annotations") or {}
    return str(marks.get(key, ""))


def _inquiry(scene: Scene) -> str:
    """What commits are resolved for: another wish resolves the branches anew."""
    model = scene.spec.model
    beside = [[one.key, one.source, one.revision or ""] for one in wanted(scene.spec)]
    return digest([model.source, model.revision or "", scene.asked, *beside])


def _at_commits(spec: ModelDeploymentSpec, commits: dict[str, str]) -> ModelDeploymentSpec:
    """The spec with every branch replaced by its commit."""

    def at(one: T, key: str) -> T:
        return one.model_copy(update={"revision": commits[key]}) if commits.get(key) else one

    adapters = [at(one, f"adapter-{one.name}") for one in spec.model.adapters or ()]
    model = at(spec.model, "").model_copy(update={"adapters": adapters or None})
    guess = spec.engine.speculative if spec.engine else None
    if spec.engine and guess and guess.draft:
        draft = {"draft": at(guess.draft, DRAFT)}
        engine = spec.engine.model_copy(update={"speculative": guess.model_copy(update=draft)})
        spec = spec.model_copy(update={"engine": engine})
    text = spec.optimize.calibration if spec.optimize else None
    if spec.optimize and text and text.source:
        optimize = spec.optimize.model_copy(update={"calibration": at(text, CALIBRATION)})
        spec = spec.model_copy(update={"optimize": optimize})
    return spec.model_copy(update={"model": model})


def _wished_models(scene: Scene, pools: Sequence[Seen], dealt: dict[str, int], draft: Draft) -> list[Raw]:
    """ModelDeployments of the pools: the first alone until it has resolved the commit."""
    given = scene.seen.model["metadata"].get("annotations", {})
    asked = {key: given[key] for key in PASSED_ON if key in given}
    queue = kueue.labels_of(scene.seen.model)
    commits, key = _commits(scene, pools), _inquiry(scene)
    if not commits:
        draft.look_again(LOOK_SECONDS)
        first, *others = pools
        marks = {**asked, RESOLVING: key}
        wish = build_pool(scene.owner, scene.spec, first.wish, dealt[first.wish.name], marks, queue)
        # The others serve on what they have, as many of it as is their part.
        return [wish, *(_as_it_is(one.model, replicas=dealt[one.wish.name]) for one in others if one.model)]
    spec = _at_commits(scene.spec, commits)
    marks = {**asked, PINNED: "/".join([key, *(f"{name}={commit}" for name, commit in commits.items())])}
    return [build_pool(scene.owner, spec, one.wish, dealt[one.wish.name], marks, queue) for one in pools]


def _children(scene: Scene, pools: Sequence[Seen], dealt: dict[str, int], draft: Draft) -> None:
    """Pools, Service, autoscaler; what served before goes once as many answer in its place."""
    draft.apply += _wished_models(scene, pools, dealt, draft)
    names = {pool_model(scene.owner.name, one.wish.name) for one in pools}
    removed = [raw for raw in scene.seen.pools if raw["metadata"]["name"] not in names]
    ready, wished = sum(one.pool.answering for one in pools), _wished(scene)
    before = counts(scene.seen.workload).available
    gone = sum(int((raw.get("status") or {}).get("readyReplicas", 0)) for raw in removed)
    draft.delete += removed if ready >= min(wished, ready + gone) else []
    if ready < min(wished, before):
        return  # the Service stays before what answers
    rest = build_group(scene.owner, scene.spec)
    draft.apply += rest
    kept = {(one["kind"], one["metadata"]["name"]) for one in rest}
    draft.delete += [raw for raw in scene.seen.children if (raw["kind"], raw["metadata"]["name"]) not in kept]
    draft.delete += [*scene.seen.revisions, *(one.job for one in scene.seen.jobs)]


def dissolve(scene: Scene, draft: Draft) -> None:
    """For a model that has no pools any more: they answer until as many do by themselves."""
    if not scene.seen.pools:
        return
    own = counts(scene.seen.workload)
    if own.available and own.available >= min(own.wished, serving.pools_ready(scene.seen)):
        draft.delete += scene.seen.pools
    else:
        draft.apply = [one for one in draft.apply if one["kind"] != "Service"]


def suspended(seen: ModelObserved) -> list[Raw]:
    """The pools as they are, suspended like the whole."""
    return [_as_it_is(raw, suspend=True) for raw in seen.pools]


def _as_it_is(raw: Raw, **spec: Any) -> Raw:
    """A pool as observed, with other fields of its spec."""
    kept = ("name", "namespace", "labels", "ownerReferences")
    meta = {key: raw["metadata"][key] for key in kept}
    marks = raw["metadata"].get("annotations") or {}
    meta["annotations"] = {key: marks[key] for key in (*PASSED_ON, PINNED, RESOLVING) if key in marks}
    body = {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": meta}
    return {**body, "spec": {**raw["spec"], **spec}}
