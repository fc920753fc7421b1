"""The decision: model, nodes and engines to one plan, or why there is none; called through engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec, PodOverrides
from slipway.errors import InvalidSpecError, NothingFitsError
from slipway.plan import explain, on_cpu, on_gpu
from slipway.plan.candidate import HOST, Candidate, Miss, Request
from slipway.plan.capabilities import lacking
from slipway.plan.capacity import least_replicas, node_selector, replicas_held
from slipway.plan.decision import Plan, Rejected, Resources
from slipway.plan.facts import EngineFacts, ModelFacts, NodeFacts
from slipway.plan.fitting import HostNeed
from slipway.plan.kinds import kinds
from slipway.plan.memory import sizes
from slipway.plan.nodes import unsuitable
from slipway.plan.pools import with_pools
from slipway.plan.preference import key
from slipway.plan.wishes import Wishes, read_wishes
from slipway.settings import Settings


def decide(
    spec: ModelDeploymentSpec,
    facts: ModelFacts,
    nodes: Sequence[NodeFacts],
    settings: Settings,
    engines: Iterable[EngineFacts],
) -> Plan:
    """Choose engine, method, level, parallelism and nodes: what the goal prefers of all that nodes can hold.

    Args:
        spec: the user's wish; what it fixes is kept or refused, never changed.
        facts: the model.
        nodes: every node of the cluster, in any order; the pools of ``settings`` come on top.
        settings: the installation's.
        engines: those that there are, see ``slipway.engines.facts``.

    Raises:
        NothingFitsError: ``NoNodes`` or ``NothingFits``; the message names the nearest miss.
        InvalidSpecError: the spec can't be planned whatever the nodes are (see ``wishes.read_wishes``).
    """
    known = tuple(engines)
    wishes = read_wishes(spec, facts, known)
    machines = sorted(with_pools(nodes, settings.node_pools), key=lambda node: node.name)
    if not machines:
        raise NothingFitsError(
            reasons.NO_NODES, "The cluster has no nodes: add one; planning goes on by itself."
        )
    allowed, refused = _allowed(spec, wishes, known)
    request = Request(facts, wishes, allowed, frozenset(settings.methods))
    overrides = spec.engine.pod_overrides if spec.engine else None
    refusals = {node.name: why for node in machines if (why := unsuitable(node, overrides))}
    usable = [node for node in machines if node.name not in refusals]
    found_kinds, barred = kinds(machines, overrides)
    for kind in found_kinds:  # a taint that only the accelerator's pods tolerate is no refusal
        for node in kind.nodes:
            refusals.pop(node.name, None)
    outcomes = [*on_gpu.candidates(request, found_kinds), *on_cpu.candidates(request, usable)]
    choices = sorted(
        (one for one in outcomes if isinstance(one, Candidate)), key=lambda one: key(wishes.goal, one)
    )
    misses = [one for one in outcomes if isinstance(one, Miss)]
    if not choices:
        seen = explain.Seen(request, usable, {**refusals, **barred}, misses, refused)
        raise NothingFitsError(reasons.NOTHING_FITS, explain.nearest_miss(seen))
    chosen = choices[0]
    reachable = usable if chosen.place == HOST else _reachable(chosen, machines, overrides)
    seen = explain.Seen(request, reachable, refusals, misses, refused)
    plan = _plan(chosen, facts, reachable, explain.reason(seen, chosen), explain.rejected(seen, choices))
    return _rollout(plan, spec, chosen)


def _allowed(
    spec: ModelDeploymentSpec, wishes: Wishes, engines: tuple[EngineFacts, ...]
) -> tuple[tuple[EngineFacts, ...], tuple[Rejected, ...]]:
    """Engines that may be chosen, and those that lack what the spec asks for.

    Raises:
        InvalidSpecError: ``InvalidSpec``, the named engine lacks something; or every one does.
    """
    candidates = [
        one for one in engines if (one.name == wishes.engine if wishes.engine else wishes.goal in one.goals)
    ]
    able = tuple(one for one in candidates if not lacking(spec, one))
    refused = tuple(
        Rejected(one.name, "; ".join(missing)) for one in candidates if (missing := lacking(spec, one))
    )
    if not able:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            " ".join(f"{one.option}: {one.reason}." for one in refused)
            or f"no engine serves goal {wishes.goal} by itself: name one in spec.engine.name.",
        )
    if wishes.method and not any(
        wishes.method in (loads.method, "none")
        for one in able
        for served in one.loads.values()
        for loads in served
    ):
        names = ", ".join(one.name for one in able)
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"spec.optimize.method: {names} can't load {wishes.method}; choose another method or engine.",
        )
    return able, refused


def _reachable(
    chosen: Candidate, machines: Sequence[NodeFacts], overrides: PodOverrides | None
) -> list[NodeFacts]:
    """Nodes whose taints and labels admit the pods of this candidate."""
    resource = chosen.accelerator.resource if chosen.accelerator else ""
    return [node for node in machines if not unsuitable(node, overrides, resource)]


def _plan(
    chosen: Candidate,
    facts: ModelFacts,
    reachable: Sequence[NodeFacts],
    reason: str,
    rejected: tuple[Rejected, ...],
) -> Plan:
    level = chosen.level if chosen.form == "gguf" else "F16"
    made = sizes(facts, level)
    return Plan(
        engine=chosen.engine.name,
        method=chosen.method,
        level=chosen.level,
        context_length=chosen.context_length,
        concurrency=chosen.concurrency,
        threads=chosen.threads,
        node_selector=node_selector(chosen.fitting, reachable),
        memory=chosen.memory,
        resources=Resources(chosen.cpu_millis, chosen.container_memory, chosen.shared_memory),
        sizes=made if chosen.form == "gguf" else replace(made, f16=made.source, level=made.source),
        profile="edge" if chosen.accelerator is None else "chat",
        reason=reason,
        rejected=rejected,
        form=chosen.form,
        at_load=chosen.at_load,
        dtype=chosen.dtype,
        accelerator=chosen.accelerator,
        parallel=chosen.parallel,
        gpu_layers=chosen.gpu_layers,
        embeds=facts.modality == "embedding",
    )


def _rollout(plan: Plan, spec: ModelDeploymentSpec, chosen: Candidate) -> Plan:
    """The plan with what its nodes hold at once, and in the reason what that means for updates."""
    nodes = [node for node in chosen.fitting if set(plan.node_selector) <= set(node.labels)]
    device = plan.accelerator
    need = HostNeed(
        plan.resources.memory,
        plan.resources.cpu_millis,
        device.resource if device else "",
        device.count if device else 0,
    )
    holds = replicas_held(spec, nodes or chosen.fitting, need) // plan.parallel.pods
    counted = replace(plan, holds=holds)
    if counted.surges(least_replicas(spec)):
        return counted
    few = "1 replica" if holds == 1 else f"{holds} replicas"
    asked = least_replicas(spec)
    fewer = f" (asked for: {asked})" if asked > holds else ""
    note = f"There is room for {few} at once{fewer}, so an update stops one before it starts the next."
    return replace(counted, reason=f"{plan.reason} {note}")
