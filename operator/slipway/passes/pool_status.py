"""What a model with pools says: a line for each pool, the sum of their conditions, where it spills.

For ``pools``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from slipway.api import reasons
from slipway.manifests.pools import pool_model
from slipway.passes import serving
from slipway.passes.outcome import Draft
from slipway.passes.pool_seen import Seen
from slipway.passes.scene import Scene
from slipway.status import Condition, timestamp

LOOK_SECONDS: Final = 15.0
"""How often pools are looked at while replicas wait or are not where they belong: a pod that stays without a
node sends no event, nor does time."""
SUMMED: Final = (
    reasons.SOURCE_RESOLVED, reasons.PLANNED, reasons.ARTIFACT_READY, reasons.AVAILABLE,
    reasons.CHECKLIST_PASSED,
)  # fmt: skip
"""Conditions that are the sum of those of the pools in use."""


def pool_status(scene: Scene, one: Seen, given: int) -> dict[str, Any]:
    """``status.pools`` of one pool, which is also what is remembered of it."""
    memory, plan = one.pool.memory, one.status.get("plan")
    state = "Full" if one.pool.full else "Filling" if given else "Idle"
    return {
        "name": one.wish.name,
        "modelDeployment": pool_model(scene.owner.name, one.wish.name),
        "replicas": given,
        "readyReplicas": one.pool.ready,
        "state": state,
        "plan": _plan_text(plan) if plan else None,
        "tokenPrice": (plan or {}).get("tokenPrice"),
        "message": memory.why[:1024] if one.pool.full else None,
        "fullSince": timestamp(memory.full_since) if memory.full_since else None,
        "retryAt": timestamp(memory.retry_at) if memory.retry_at else None,
        "failures": memory.failures or None,
        "held": memory.held or None,
        "nodes": memory.nodes or None,
    }


def _plan_text(plan: dict[str, Any]) -> str:
    device = (plan.get("accelerator") or {}).get("product")
    return f"{plan['engine']} {plan['level']}" + (f" on {device}" if device else "")


def say(pools: Sequence[Seen], dealt: dict[str, int], wished: int, draft: Draft, *, before: int) -> None:
    """The sum: of the pools that have replicas, the first that is not well speaks for all.

    Args:
        pools: in the order in which they are filled.
        dealt: replicas of each.
        wished: replicas in all.
        draft: what is to be written.
        before: replicas that answer, those that served before there were pools among them.
    """
    there = [one for one in pools if one.model] or list(pools)
    used = [one for one in there if dealt[one.wish.name]] or there[:1]
    most = _most(pools)
    limit = "" if most is None or most >= wished else f"; maxReplicas of the pools allow {most} of {wished}"
    for kind in SUMMED:
        if kind == reasons.AVAILABLE and before:
            draft.holds(kind, reasons.SERVING, serving.answers(before) + limit)
        else:
            _sum(kind, used, draft)
    _spilled(pools, dealt, draft)
    needed = max(wished if most is None else min(wished, most), sum(one.pool.least for one in pools))
    if before >= needed and _in_place(pools, dealt):
        return
    draft.look_again(LOOK_SECONDS)
    if before >= needed:
        return
    text = f"{before} of {needed} replicas answer: {_by_pool(pools, dealt)}"
    if draft.headline is None and not _only_scales(before, draft):
        draft.headline = (reasons.ROLLING_OUT, text)
    draft.progressing(state=True, reason=(draft.headline or (reasons.ROLLING_OUT,))[0], message=text)
    draft.fields["progress"] = used[0].status.get("progress") or "Starting"


def _most(pools: Sequence[Seen]) -> int | None:
    """Replicas that the pools may have together; None for no limit."""
    limits = [one.pool.most for one in pools]
    return None if None in limits else sum(one or 0 for one in limits)


def _only_scales(answering: int, draft: Draft) -> bool:
    """Whether a ready model has as many replicas that answer as before: more of them are on their way."""
    return draft.was(reasons.READY) and answering >= max(1, serving.before(draft))


def _sum(kind: str, used: Sequence[Seen], draft: Draft) -> None:
    found = [(one.wish.name, one.condition(kind)) for one in used]
    unwell = next(((name, one) for name, one in found if one.get("status") != "True"), None)
    if unwell is None:
        text = "; ".join(f"{name}: {one['message']}" for name, one in found)
        draft.holds(kind, found[0][1]["reason"], text[:1024])
    elif unwell[1]:
        name, one = unwell
        put = draft.fails if one["status"] == "False" else draft.unknown
        put(kind, one["reason"], f"{name}: {one['message']}")
    else:
        draft.unknown(kind, reasons.WAITING, f"{unwell[0]}: ModelDeployment of the pool is being made")


def _spilled(pools: Sequence[Seen], dealt: dict[str, int], draft: Draft) -> None:
    """Whether replicas are elsewhere than where they belong; no part of Ready."""
    full = [one for one in pools if one.pool.full]
    if not full:
        draft.conditions[reasons.SPILLED] = Condition(
            reasons.SPILLED, "False", reasons.IN_ORDER, "every pool has room for what it is given"
        )
        return
    due = min(one.pool.memory.retry_at for one in full if one.pool.memory.retry_at)
    names = ", ".join(one.wish.name for one in full)
    text = f"no room in pool {names}: {_by_pool(pools, dealt)}; tried again at {timestamp(due)}"
    why = "; ".join(f"{one.wish.name}: {one.pool.memory.why}" for one in full)
    draft.conditions[reasons.SPILLED] = Condition(
        reasons.SPILLED, "True", reasons.POOL_FULL, f"{text}. {why}"
    )
    draft.look_again(min(LOOK_SECONDS * 2, max(1.0, (due - draft.now).total_seconds())))


def _in_place(pools: Sequence[Seen], dealt: dict[str, int]) -> bool:
    return all(one.pool.ready == dealt[one.wish.name] for one in pools)


def _by_pool(pools: Sequence[Seen], dealt: dict[str, int]) -> str:
    return ", ".join(f"{one.wish.name} {one.pool.ready}/{dealt[one.wish.name]}" for one in pools)
