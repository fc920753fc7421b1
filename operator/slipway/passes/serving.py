"""Children that serve the model, and what the Deployment and its pods say.

A step of the ModelDeployment's pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from slipway import drift
from slipway.api import reasons
from slipway.manifests.deployment import without_surge
from slipway.manifests.revision import pinned_settings
from slipway.manifests.serving import PublishedArtifact, build_serving, selector, service_url
from slipway.observe.observed import ModelObserved, Raw
from slipway.passes import planning, rollout, tries
from slipway.passes.outcome import Draft
from slipway.passes.scene import Chosen, Scene
from slipway.plan.capacity import spreads
from slipway.plan.failures import Verdict, judge
from slipway.plan.rollout import needs_room
from slipway.plan.symptoms import Symptoms
from slipway.plan.workload import KINDS, counts, pods

LOOK_SECONDS = 15.0
"""How often a rollout that waits is looked at: a pod that stays unschedulable sends no event."""
GROUP: Final = "leaderworkerset.sigs.k8s.io/name"
"""Label of the pods of a LeaderWorkerSet."""
NOTHING_WISHED = "spec.replicas is 0: nothing serves"
HOMELESS: Final = frozenset({reasons.UNSCHEDULABLE, reasons.STORE_CANNOT_SPREAD})
"""No node takes the pod: another plan may ask for less, or for other nodes."""
ROOM: Final = frozenset({*HOMELESS, reasons.CONTAINER_CREATING})
"""What a pod of an update says while it waits for the place of an old one."""


def serve(scene: Scene, chosen: Chosen, served: PublishedArtifact, draft: Draft) -> Raw:
    """Ask for the children, prune what is no longer wished, and say how far the rollout is.

    Returns the wished workload: a Deployment or LeaderWorkerSet.
    """
    settings = pinned_settings(scene.settings, chosen.pinned)
    grouped = scene.workload("LeaderWorkerSet") is not None
    built = build_serving(
        scene.owner, scene.spec, chosen.pinned.plan, served, settings, chosen.name, grouped=grouped
    )
    running = scene.workload(workload_of(built)["kind"])
    room = rollout.makes_room(running, _unwell(scene.seen, draft), spreads=spreads(scene.spec))
    wished = [without_surge(one) if room and one["kind"] == "Deployment" else one for one in built]
    workload = workload_of(wished)
    draft.apply += wished
    prune(scene, wished, draft)
    hand_over_replicas(scene, workload, draft)
    draft.fields["url"] = f"{service_url(scene.owner.name, scene.owner.namespace, settings)}/v1"
    draft.fields["selector"] = ",".join(
        f"{key}={value}" for key, value in sorted(selector(scene.owner.name).items())
    )
    _report_rollout(scene, chosen, workload, draft, room=room)
    return workload


def workload_of(children: list[Raw]) -> Raw:
    """The one child that keeps the engine's pods."""
    return next(one for one in children if one["kind"] in KINDS)


def prune(scene: Scene, wished: list[Raw], draft: Draft) -> None:
    """Delete the children that are no longer wished."""
    names = {(one["kind"], one["metadata"]["name"]) for one in wished}
    gone = [raw for raw in scene.seen.children if (raw["kind"], raw["metadata"]["name"]) not in names]
    draft.delete += [raw for raw in gone if not _stands_in(scene, raw, wished, draft)]


def _stands_in(scene: Scene, raw: Raw, wished: list[Raw], draft: Draft) -> bool:
    """Whether a workload of the other kind still answers in place of the wished one, which starts beside it.

    It goes when as many of that answer, or when a pod of that waits for its room.
    """
    kind = workload_of(wished)["kind"]
    if raw["kind"] not in KINDS or raw["kind"] == kind or not counts(raw).available:
        return False
    coming = scene.workload(kind)
    if coming is None:
        return True
    enough = min(counts(coming).wished, counts(raw).available)
    pods = [
        pod
        for pod in scene.seen.engine_pods
        if (GROUP in pod["metadata"].get("labels", {})) == (kind != "Deployment")
    ]
    mine = replace(scene.seen, engine_pods=tuple(pods))
    return counts(coming).available < enough and not any(map(needs_room, _unwell(mine, draft)))


def hand_over_replicas(scene: Scene, wished: Raw, draft: Draft) -> None:
    """Hold the replica count for the autoscaler, whenever an apply of ours is to leave it out.

    An autoscaler does nothing at zero replicas: then the count is its minimum.
    """
    observed = scene.workload(wished["kind"])
    if scene.spec.autoscaling is None or observed is None:
        return
    least = scene.spec.autoscaling.min_replicas or 1
    count = int(observed["spec"].get("replicas", 1))
    if count == 0 or (wished in draft.apply and not rollout.settled(wished, observed)):
        draft.keep_replicas = {**observed, "spec": {**observed["spec"], "replicas": max(count, least)}}


def report_replicas(seen: ModelObserved, draft: Draft) -> None:
    """Replica counts, as the scale subresource shows them."""
    parts = [*seen.pools, *([seen.workload] if seen.workload else [])]
    for field in ("replicas", "readyReplicas"):
        draft.fields[field] = sum(int((one.get("status") or {}).get(field, 0)) for one in parts)


def pools_ready(seen: ModelObserved) -> int:
    """Replicas of the model's pools that answer."""
    return sum(int((one.get("status") or {}).get("readyReplicas", 0)) for one in seen.pools)


def answering(seen: ModelObserved) -> int:
    """Replicas that answer, of whatever keeps them."""
    return pools_ready(seen) + counts(seen.workload).available


def report_available(seen: ModelObserved, draft: Draft) -> None:
    """Available, from whatever workload there is."""
    workload = seen.workload
    if pools_ready(seen):
        draft.holds(reasons.AVAILABLE, reasons.SERVING, answers(answering(seen)))
        return
    if workload is None:
        if draft.was(reasons.AVAILABLE):
            draft.fails(reasons.AVAILABLE, reasons.WAITING, "the Deployment is gone: nothing answers")
        return
    if count := counts(workload).available:
        draft.holds(reasons.AVAILABLE, reasons.SERVING, answers(count))
    elif workload["spec"].get("replicas") == 0:
        draft.fails(reasons.AVAILABLE, reasons.SCALED_TO_ZERO, NOTHING_WISHED)
    else:
        trouble = _trouble(seen, draft)
        reason = trouble.reason if trouble else reasons.STARTING
        draft.fails(reasons.AVAILABLE, reason, trouble.message if trouble else "no engine pod answers yet")


def _report_rollout(scene: Scene, chosen: Chosen, wished: Raw, draft: Draft, *, room: bool) -> None:
    observed = scene.workload(wished["kind"])
    seen = counts(observed)
    target = _target(scene, wished, observed)
    there = seen.available or answering(scene.seen)
    current = rollout.settled(wished, observed)
    if current and target == 0:
        draft.fails(reasons.AVAILABLE, reasons.SCALED_TO_ZERO, NOTHING_WISHED)
        draft.progressing(state=False, reason=reasons.SETTLED, message="nothing is left to do")
        return
    trouble = _trouble(scene.seen, draft)
    if there:
        trouble = None if room and trouble and trouble.reason in ROOM else trouble
        draft.holds(reasons.AVAILABLE, reasons.SERVING, answers(there))
    else:
        reason = trouble.reason if trouble else reasons.STARTING
        text = trouble.message if trouble else "the engine starts and loads the model"
        draft.fails(reasons.AVAILABLE, reason, text)
    if current and seen.heard and seen.updated == seen.existing == target <= seen.available:
        return
    draft.look_again(LOOK_SECONDS)
    if not there and trouble is not None and trouble.reason in HOMELESS:
        planning.replan(scene, chosen, draft)
    text = f"{seen.updated} of {target} replicas are of this revision"
    text += "; an old one stops before the next starts, as volume or node have no room for both" * room
    reason, text = (trouble.reason, trouble.message) if trouble else (reasons.ROLLING_OUT, text)
    draft.fields["progress"] = "Starting" if not there else "Rolling out"
    draft.progressing(state=True, reason=reason, message=text)
    if draft.headline is None and not _only_scales(wished, observed, min(target, before(draft)), draft):
        draft.headline = (reason, text)


def _target(scene: Scene, wished: Raw, observed: Raw | None) -> int:
    """Replicas wished by the spec, or by the autoscaler once there is one to have a wish."""
    if scene.spec.autoscaling is None:
        return int(wished["spec"].get("replicas", 1))
    return int((observed or wished)["spec"].get("replicas", 1)) or (scene.spec.autoscaling.min_replicas or 1)


def before(draft: Draft) -> int:
    """Replicas that answered when status was written last."""
    return int((draft.raw.get("status") or {}).get("readyReplicas", 0))


def _only_scales(wished: Raw, observed: Raw | None, needed: int, draft: Draft) -> bool:
    """Whether the pods' template stays and as many as before answer: a ready model then stays ready."""
    if not draft.was(reasons.READY) or observed is None or not drift.covers(pods(wished), pods(observed)):
        return False
    seen = counts(observed)
    return (seen.updated == seen.existing or not seen.heard) and seen.available >= max(1, needed)


def answers(count: int) -> str:
    """How many engine pods answer, in words."""
    return "1 engine pod answers" if count == 1 else f"{count} engine pods answer"


def _trouble(seen: ModelObserved, draft: Draft) -> Verdict | None:
    """What keeps the newest engine pod that is not ready."""
    return next((found for found in map(judge, _unwell(seen, draft)) if found is not None), None)


def _unwell(seen: ModelObserved, draft: Draft) -> Iterator[Symptoms]:
    """Symptoms of the engine's living pods, the newest first."""
    made = lambda pod: str(pod["metadata"].get("creationTimestamp", ""))  # noqa: E731 - a key for one line
    for pod in sorted(tries.living(seen.engine_pods), key=made, reverse=True):
        yield tries.engine_symptoms(pod, draft.now, seen.crash_logs.get(pod["metadata"].get("uid", ""), ""))
