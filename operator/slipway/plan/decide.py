"""The decision: model and node facts to one plan, or why there is none; called by the pass and the CLI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from slipway.api import reasons
from slipway.api.modeldeployment import MemoryStatus, ModelDeploymentSpec, PlanStatus, RejectedOption
from slipway.errors import NothingFitsError
from slipway.plan.capacity import largest, least_replicas, node_selector, replicas_held
from slipway.plan.decision import Plan, Rejected, Resources
from slipway.plan.facts import ModelFacts, NodeFacts
from slipway.plan.memory import SHARED_MEMORY, sizes
from slipway.plan.nodes import unsuitable
from slipway.plan.options import ENGINE, Option, Wishes, options, read_wishes
from slipway.plan.quantities import MIB, bytes_text, cpu_text, gib_text
from slipway.settings import Settings

NODE_RESERVE = 256 * MIB
"""Left to the pods that run on every node (network plugin, kube-proxy, log shipper). Judged, not measured."""
MAX_THREADS = 16
"""Decoding on CPU is bound by memory bandwidth before more cores are busy; ``resources.cpu`` overrides."""
BASE_CPU_MILLIS = 250
CPU_MILLIS_PER_BILLION = 250
"""Requested CPU grows with the model; the limit is the threads, so a lone replica still uses them all."""
CPU_SHARE = 4
"""At most a quarter of a node's cores is requested: a second replica and a rollout's surge fit beside."""
NAMED_NODES = 3
LESS = "Give it more, or ask for a smaller model, less context, less concurrency or a lower level."
STATUS_REJECTED = 16
"""``status.plan.rejected`` has at most this many entries."""


def decide(
    spec: ModelDeploymentSpec, facts: ModelFacts, nodes: Sequence[NodeFacts], settings: Settings
) -> Plan:
    """Choose level, concurrency, threads and node selector: the best option that a node can hold.

    Args:
        spec: the user's wish; what it fixes is kept or refused, never changed.
        facts: the model.
        nodes: every node of the cluster, in any order.
        settings: the installation's; they decide nothing in this version.

    Raises:
        NothingFitsError: ``NoNodes`` or ``NothingFits``; the message names the nearest miss.
        InvalidSpecError: the spec can't be planned whatever the nodes are (see ``options.read_wishes``).
    """
    del settings
    wishes = read_wishes(spec, facts)
    if not nodes:
        raise NothingFitsError(
            reasons.NO_NODES, "The cluster has no nodes: add one; planning goes on by itself."
        )
    ordered = sorted(nodes, key=lambda node: node.name)
    overrides = spec.engine.pod_overrides if spec.engine else None
    refusals = {node.name: why for node in ordered if (why := unsuitable(node, overrides))}
    usable = [node for node in ordered if node.name not in refusals]
    rejected: list[Rejected] = []
    tried: list[Option] = []
    for option in options(wishes, facts):
        tried.append(option)
        fitting = _fitting(option, wishes, facts, usable)
        if fitting:
            rejected += [*_beside(wishes, option, tried), *_gpus(ordered), *_refused_nodes(refusals)]
            return _rollout(_plan(option, wishes, facts, fitting, usable, tuple(rejected)), spec, fitting)
        rejected.append(Rejected(option.text, _misfit(option, wishes, facts, usable)))
    raise NothingFitsError(reasons.NOTHING_FITS, _nearest_miss(tried, wishes, facts, usable, refusals))


def _fitting(
    option: Option, wishes: Wishes, facts: ModelFacts, usable: Sequence[NodeFacts]
) -> list[NodeFacts]:
    """Nodes that can hold this option; none when the user's own memory can't."""
    if wishes.memory is not None and wishes.memory < option.memory.total:
        return []
    # Most nodes fall by memory, which is one comparison: a plan against 5,000 nodes takes milliseconds.
    need = option.container_memory + NODE_RESERVE
    return [node for node in usable if node.memory >= need and not _shortage(option, wishes, facts, node)]


def _misfit(option: Option, wishes: Wishes, facts: ModelFacts, usable: Sequence[NodeFacts]) -> str:
    """Why no node can hold this option, by the nearest one."""
    if wishes.memory is not None and wishes.memory < option.memory.total:
        allowed = f"spec.engine.resources.memory allows {gib_text(wishes.memory)}"
        return f"needs {gib_text(option.memory.total)}, and {allowed}"
    if not usable:
        return "no usable node"
    nearest = largest(usable)
    return f"node {nearest.name}: {_shortage(option, wishes, facts, nearest)}"


def _shortage(option: Option, wishes: Wishes, facts: ModelFacts, node: NodeFacts) -> str:
    """What this node lacks for this option; empty when it lacks nothing."""
    room = node.memory - NODE_RESERVE
    if option.container_memory > room:
        return f"needs {gib_text(option.container_memory)} of memory, {gib_text(max(0, room))} are there"
    cpu = wishes.cpu_millis or _cpu_request(facts, node.cpu)
    if cpu > node.cpu * 1000:
        return f"needs {cpu / 1000:g} cores, {node.cpu:g} are there"
    return ""


def _cpu_request(facts: ModelFacts, cores: float) -> int:
    """Requested millicores: by the model's size, at most a share of the node."""
    wanted = max(BASE_CPU_MILLIS, round(CPU_MILLIS_PER_BILLION * facts.parameters / 1e9))
    return max(1, min(wanted, int(cores * 1000) // CPU_SHARE))


def _plan(
    option: Option,
    wishes: Wishes,
    facts: ModelFacts,
    fitting: Sequence[NodeFacts],
    usable: Sequence[NodeFacts],
    rejected: tuple[Rejected, ...],
) -> Plan:
    cores = min(node.cpu for node in fitting)
    cpu = wishes.cpu_millis or _cpu_request(facts, cores)
    threads = max(1, wishes.cpu_millis // 1000 if wishes.cpu_millis else min(int(cores), MAX_THREADS))
    return Plan(
        engine=ENGINE,
        method="none" if option.level == "F16" else "gguf",
        level=option.level,
        context_length=option.context_length,
        concurrency=option.concurrency,
        threads=threads,
        node_selector=node_selector(fitting, usable),
        memory=option.memory,
        resources=Resources(cpu, option.container_memory, SHARED_MEMORY),
        sizes=sizes(facts, option.level),
        profile="edge",
        reason=_reason(option, wishes, facts, fitting, usable),
        rejected=rejected,
    )


def _rollout(plan: Plan, spec: ModelDeploymentSpec, fitting: Sequence[NodeFacts]) -> Plan:
    """The plan with what its nodes hold at once, and in the reason what that means for updates."""
    chosen = [node for node in fitting if set(plan.node_selector) <= set(node.labels)]
    counted = replace(plan, holds=replicas_held(spec, chosen or fitting, plan.resources, NODE_RESERVE))
    if counted.surges(least_replicas(spec)):
        return counted
    few = "1 replica" if counted.holds == 1 else f"{counted.holds} replicas"
    asked = least_replicas(spec)
    fewer = f" (asked for: {asked})" if counted.holds is not None and asked > counted.holds else ""
    note = f"There is room for {few} at once{fewer}, so an update stops one before it starts the next."
    return replace(counted, reason=f"{plan.reason} {note}")


def _reason(
    option: Option,
    wishes: Wishes,
    facts: ModelFacts,
    fitting: Sequence[NodeFacts],
    usable: Sequence[NodeFacts],
) -> str:
    billions = f"{facts.parameters / 1e9:.3g} billion parameters"
    if len(wishes.levels) == 1:
        why = f"{option.level} as asked for"
    elif option.level == wishes.levels[0]:
        why = f"{option.level} is what goal {wishes.goal} prefers"
    else:
        why = f"{option.level} is the best level for goal {wishes.goal} that fits"
    return (
        f"{why}: {billions} served by llama.cpp on CPU need {gib_text(option.container_memory)} with "
        f"{option.concurrency} x {option.context_length} tokens of context; "
        f"{len(fitting)} of {len(usable)} usable nodes can hold that."
    )


def _beside(wishes: Wishes, chosen: Option, tried: Sequence[Option]) -> list[Rejected]:
    """Levels that would have been possible, and why they were not taken."""
    seen = {option.level for option in tried}
    why = f"loses more quality than {chosen.level}, which fits"
    later = [Rejected(level, why) for level in wishes.levels if level not in seen]
    if len(wishes.levels) > 1 and "Q8_0" not in wishes.levels:
        slower = f"goal {wishes.goal} prefers fewer bytes a token; set optimize.goal: quality to have it"
        later.insert(0, Rejected("Q8_0", slower))
    return later


def _gpus(nodes: Iterable[NodeFacts]) -> list[Rejected]:
    """GPU options, which this version can't serve."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        for gpu in node.gpus:
            found.setdefault(gpu.resource, []).append(node.name)
    return [
        Rejected(
            f"GPU {resource} ({_names(names)})", "this version serves on CPU only; no GPU engine is built in"
        )
        for resource, names in sorted(found.items())
    ]


def _refused_nodes(refusals: dict[str, str]) -> list[Rejected]:
    """Nodes that could not be used, grouped by reason, so that a large cluster stays readable."""
    groups: dict[str, list[str]] = {}
    for name, why in refusals.items():
        groups.setdefault(why, []).append(name)
    return [Rejected(f"node {_names(names)}", why) for why, names in groups.items()]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_NODES])
    return shown if len(names) <= NAMED_NODES else f"{shown} and {len(names) - NAMED_NODES} more"


def _nearest_miss(
    tried: Sequence[Option],
    wishes: Wishes,
    facts: ModelFacts,
    usable: Sequence[NodeFacts],
    refusals: dict[str, str],
) -> str:
    """One paragraph: the smallest option, the nearest node, what is missing, what to do."""
    smallest = min(tried, key=lambda option: (option.container_memory, option.memory.total))
    unused = "; ".join(f"{one.option}: {one.reason}" for one in _refused_nodes(refusals)[:NAMED_NODES])
    skipped = f" Not usable: {unused}." if unused else ""
    if not usable:
        return f"No node can be used.{skipped} Free or add a node; planning goes on by itself."
    need = smallest.container_memory
    asked = "spec.engine.resources.memory" if wishes.memory is not None else smallest.text
    if wishes.memory is not None and wishes.memory < smallest.memory.total:
        return (
            f"spec.engine.resources.memory of {gib_text(wishes.memory)} is too small: {smallest.text} needs "
            f"{gib_text(smallest.memory.total)}. {LESS}"
        )
    nearest = largest(usable)
    missing = need + NODE_RESERVE - nearest.memory
    kept = f"{gib_text(NODE_RESERVE)} of them kept for the node's own pods"
    lacks = (
        f"{kept}: {gib_text(missing)} are missing"
        if missing > 0
        else _shortage(smallest, wishes, facts, nearest)
    )
    return (
        f"Nothing fits: {asked} needs {gib_text(need)} of memory; the nearest node is {nearest.name} with "
        f"{nearest.cpu:g} cores and {gib_text(nearest.memory)}, {lacks}.{skipped} {LESS}"
    )


def plan_status(plan: Plan) -> PlanStatus:
    """``status.plan`` of a plan: rejected options bounded, quantities as Kubernetes writes them."""
    memory = plan.memory
    kept = plan.rejected[:STATUS_REJECTED]
    return PlanStatus(
        engine=plan.engine,
        method=plan.method,
        level=plan.level,
        context_length=plan.context_length,
        concurrency=plan.concurrency,
        threads=plan.threads,
        node_selector=dict(plan.node_selector) or None,
        memory=MemoryStatus(
            weights=memory.weights,
            kv_cache=memory.kv_cache,
            activations=memory.activations,
            overhead=memory.overhead,
            total=memory.total,
        ),
        resources={
            "cpu": cpu_text(plan.resources.cpu_millis),
            "memory": bytes_text(plan.resources.memory),
            "sharedMemory": bytes_text(plan.resources.shared_memory),
        },
        reason=plan.reason,
        rejected=[RejectedOption(option=one.option[:256], reason=one.reason[:1024]) for one in kept],
    )
