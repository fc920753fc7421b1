"""The decision: model, nodes and engines to one plan, or why there is none; called through engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec, PodOverrides
from slipway.errors import InvalidSpecError, NothingFitsError
from slipway.plan import explain, on_cpu, on_gpu
from slipway.plan.candidate import Candidate, Miss, Request
from slipway.plan.capabilities import lacking
from slipway.plan.capacity import least_replicas, node_selector, replicas_held, spreads
from slipway.plan.companions import Companion, refuse_mismatch
from slipway.plan.decision import Plan, Rejected, Resources, Sizes
from slipway.plan.facts import EngineFacts, ModelFacts, NodeFacts
from slipway.plan.fitting import HostNeed
from slipway.plan.kinds import Alike, alike, kinds, suitability
from slipway.plan.memory import sizes
from slipway.plan.merging import beside, refuse_merging
from slipway.plan.methods import weight_bytes
from slipway.plan.nodes import engine_overrides
from slipway.plan.pools import with_pools
from slipway.plan.preference import key
from slipway.plan.pruning import pruned_facts
from slipway.plan.stored import stored_level
from slipway.plan.wishes import Wishes, read_wishes
from slipway.settings import Settings
from slipway_runtime.contract import NEED_MATRIX, NO_MATRIX


def decide(
    spec: ModelDeploymentSpec,
    facts: ModelFacts,
    nodes: Sequence[NodeFacts],
    settings: Settings,
    engines: Iterable[EngineFacts],
    companions: Sequence[Companion] = (),
) -> Plan:
    """Choose engine, method, level, parallelism and nodes: what the goal prefers of all that nodes can hold.

    Args:
        spec: the user's wish; what it fixes is kept or refused, never changed.
        facts: the model.
        nodes: every node of the cluster, in any order; the pools of ``settings`` come on top.
        settings: the installation's.
        engines: those that there are, see ``slipway.engines.facts``.
        companions: what the spec wants served beside the model, or merged into it.

    Raises:
        NothingFitsError: ``NoNodes`` or ``NothingFits``; the message names the nearest miss.
        InvalidSpecError: the spec can't be planned whatever the nodes are (see ``wishes.read_wishes``).
    """
    known = tuple(engines)
    facts = pruned_facts(spec, facts)
    wishes = read_wishes(spec, facts, known)
    refuse_mismatch(spec, facts, companions)
    refuse_merging(spec, facts, companions)
    machines = sorted(with_pools(nodes, settings.node_pools), key=lambda node: node.name)
    if not machines:
        raise NothingFitsError(
            reasons.NO_NODES, "The cluster has no nodes: add one; planning goes on by itself."
        )
    allowed, refused = _allowed(spec, facts, wishes, known)
    makes = frozenset(settings.methods)
    request = Request(facts, wishes, allowed, makes, _one_node(spec, settings), beside(companions))
    tried = _try(request, machines, engine_overrides(spec))
    if not tried.choices:
        seen = explain.Seen(request, tried.usable, tried.every_refusal, tried.misses, refused)
        raise NothingFitsError(*explain.refusal(seen))
    chosen, reachable = tried.chosen(machines)
    refuse_mismatch(spec, facts, companions, chosen.form)
    seen = explain.Seen(request, reachable, tried.refusals, tried.misses, refused)
    rejected = explain.rejected(seen, chosen, tried.choices[1:])
    reason = explain.reason(seen, chosen)
    plan = _plan(chosen, facts, reachable, reason, rejected, wishes.options)
    return _rollout(replace(plan, imatrix=_matrix(chosen, wishes)), spec, chosen)


@dataclass(frozen=True)
class _Tried:
    """Every option, on every node.

    Attributes:
        choices: those that fit, best first, each with one node of every kind.
        usable: nodes for pods without an accelerator.
        refusals: nodes of no use at all; barred: those whose accelerators are of no use.
        hosts: nodes for pods without an accelerator by what stands for them; devices: the same with one.
        why: see ``kinds.suitability``.
    """

    choices: list[Candidate]
    misses: list[Miss]
    usable: list[NodeFacts]
    refusals: dict[str, str]
    barred: dict[str, str]
    hosts: Alike
    devices: Alike
    why: Callable[[NodeFacts, str], str]

    @property
    def every_refusal(self) -> dict[str, str]:
        """For an error: the accelerators' taints too."""
        return {**self.refusals, **self.barred}

    def chosen(self, machines: Sequence[NodeFacts]) -> tuple[Candidate, list[NodeFacts]]:
        """The best with all its nodes, and the nodes that admit its pods by taints and labels."""
        best = self.choices[0]
        if best.accelerator is None:
            return replace(best, fitting=self.hosts.expand(best.fitting)), self.usable
        resource = best.accelerator.resource
        reachable = [node for node in machines if not self.why(node, resource)]
        return replace(best, fitting=self.devices.expand(best.fitting)), reachable


def _try(request: Request, machines: Sequence[NodeFacts], overrides: PodOverrides | None) -> _Tried:
    why = suitability(overrides)
    refusals = {node.name: refusal for node in machines if (refusal := why(node, ""))}
    usable = [node for node in machines if node.name not in refusals]
    found, members, barred = kinds(machines, why)
    for group in members.values():  # a taint that only the accelerator's pods tolerate is no refusal
        for node in group:
            refusals.pop(node.name, None)
    hosts = alike(usable, devices=False)
    outcomes = [*on_gpu.candidates(request, found), *on_cpu.candidates(request, hosts.nodes)]
    choices = [one for one in outcomes if isinstance(one, Candidate)]
    choices.sort(key=lambda one: key(request.wishes.goal, one))
    misses = [one for one in outcomes if isinstance(one, Miss)]
    return _Tried(choices, misses, usable, refusals, barred, hosts, Alike((), members), why)


def _allowed(
    spec: ModelDeploymentSpec, facts: ModelFacts, wishes: Wishes, engines: tuple[EngineFacts, ...]
) -> tuple[tuple[EngineFacts, ...], tuple[Rejected, ...]]:
    """Engines that may be chosen, and those that lack what the spec asks for.

    Raises:
        InvalidSpecError: ``InvalidSpec``, the named engine lacks something; or every one does.
    """
    candidates = [
        one for one in engines if (one.name == wishes.engine if wishes.engine else wishes.goal in one.goals)
    ]
    able = tuple(one for one in candidates if not lacking(spec, one))
    blind = tuple(one for one in able if facts.levels and not _loads(one, wishes.method))
    refused = tuple(
        Rejected(one.name, "; ".join(missing)) for one in candidates if (missing := lacking(spec, one))
    )
    if not able:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            " ".join(f"{one.option}: {one.reason}." for one in refused)
            or f"no engine serves goal {wishes.goal} by itself: name one in spec.engine.name.",
        )
    names = ", ".join(one.name for one in able)
    if blind == able:
        lack = "".join(f" {one.option}: {one.reason}." for one in refused)
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"spec.engine: {names} can't load GGUF files, and {spec.model.source} comes as nothing else: "
            f"leave the engine to auto, or name the repository with the original weights.{lack}",
        )
    if wishes.method and not any(_loads(one, wishes.method) or wishes.method == "none" for one in able):
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"spec.optimize.method: {names} can't load {wishes.method}; choose another method or engine.",
        )
    unread = tuple(Rejected(one.name, "can't load GGUF files, and the model comes so") for one in blind)
    return able, (*refused, *unread)


def _loads(engine: EngineFacts, method: str) -> bool:
    """Whether it serves the method on any accelerator."""
    return any(loads.method == method for served in engine.loads.values() for loads in served)


def _one_node(spec: ModelDeploymentSpec, settings: Settings) -> str:
    """Why a replica may not take several nodes; empty when it may."""
    lacks = []
    if not settings.several_nodes:
        lacks.append("LeaderWorkerSet (https://lws.sigs.k8s.io) in the cluster")
    if not spreads(spec):
        lacks.append("spec.store.accessMode ReadWriteMany, as every node reads the volume")
    return " and ".join(lacks)


def _plan(
    chosen: Candidate,
    facts: ModelFacts,
    reachable: Sequence[NodeFacts],
    reason: str,
    rejected: tuple[Rejected, ...],
    options: tuple[tuple[str, str], ...],
) -> Plan:
    held = stored_level(facts, chosen.level)
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
        sizes=_sizes(chosen, facts),
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
        price=chosen.price,
        source_files=held.parts if held else 0,
        made=chosen.made,
        options=options if chosen.made else (),
    )


def _matrix(chosen: Candidate, wishes: Wishes) -> bool:
    """Whether the level is made with an importance matrix: it needs one, or the spec asks for it."""
    if chosen.form != "gguf" or chosen.level in NO_MATRIX:
        return False
    return wishes.imatrix or chosen.level in NEED_MATRIX


def _sizes(chosen: Candidate, facts: ModelFacts) -> Sizes:
    """Of the artifacts: a folder that is served as it is has the source's, one that a Job makes its own."""
    made = sizes(facts, chosen.level if chosen.form == "gguf" else "F16")
    if chosen.form == "gguf":
        return made
    beside = max(0, made.source - facts.weight_bytes)
    level = weight_bytes(facts, chosen.method, chosen.level) + beside if chosen.made else made.source
    return replace(made, f16=made.source, level=level)


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
