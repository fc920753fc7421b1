"""What holds for every model on every cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import decide
from slipway.errors import NothingFitsError
from slipway.plan.candidate import loss_of
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts, NodeFacts
from slipway.plan.fitting import NODE_RESERVE
from slipway.plan.nodes import node_facts, unsuitable
from slipway.plan.preference import CPU_BALANCED, CPU_QUALITY
from slipway.settings import Settings
from tests.support.gpu_nodes import KINDS, gpu_node
from tests.support.planning import model, node, spec

GIB = 1024**3
models = st.builds(
    model,
    st.floats(1e8, 2e11),
    st.integers(4, 120),
    st.sampled_from([576, 896, 2048, 4096, 5120, 8192]),
    st.integers(8, 64),
    st.integers(1, 8),
    st.sampled_from([64, 128]),
    st.integers(1000, 260_000),
    st.sampled_from([0, 2048, 8192, 131_072]),
)
machines = st.lists(
    st.builds(
        lambda index, cpu, memory, architecture, ready, taint: node(
            f"n{index}",
            cpu,
            f"{memory}Mi",
            architecture,
            ready=ready,
            taints=("a=b:NoSchedule",) if taint else (),
        ),
        st.integers(0, 10_000),
        st.integers(1, 128),
        st.integers(512, 1_500_000),
        st.sampled_from(["amd64", "arm64", "riscv64"]),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one.name,
)
specs = st.builds(
    lambda goal, concurrency: spec(
        optimize={"goal": goal}, **({"engine": {"concurrency": concurrency}} if concurrency else {})
    ),
    st.sampled_from(["throughput", "quality", "latency", "cost"]),
    st.sampled_from([None, 1, 8]),
)


def attempt(wish: ModelDeploymentSpec, facts: ModelFacts, nodes: list[NodeFacts]) -> Plan | None:
    try:
        return decide(wish, facts, nodes, Settings())
    except NothingFitsError:
        return None


def rank(wish: ModelDeploymentSpec, plan: Plan | None) -> int:
    """0 for the best level of the goal; the worst for none at all."""
    levels = CPU_QUALITY if wish.optimize and wish.optimize.goal == "quality" else CPU_BALANCED
    return levels.index(plan.level) if plan else len(levels)


@settings(max_examples=200, deadline=None)
@given(models, machines, specs)
def test_never_plans_what_does_not_fit(
    facts: ModelFacts, nodes: list[NodeFacts], wish: ModelDeploymentSpec
) -> None:
    plan = attempt(wish, facts, nodes)
    if plan is None:
        return
    selected = [
        one for one in nodes if set(plan.node_selector) <= set(one.labels) and not unsuitable(one, None)
    ]
    assert selected
    for one in selected:
        assert plan.memory.total <= plan.resources.memory <= one.memory - NODE_RESERVE
        assert plan.resources.cpu_millis <= one.cpu * 1000
        assert plan.threads <= one.cpu


@settings(max_examples=200, deadline=None)
@given(models, machines, specs, st.integers(0, 5), st.integers(1, 512))
def test_more_memory_never_gives_a_worse_level(
    facts: ModelFacts, nodes: list[NodeFacts], wish: ModelDeploymentSpec, which: int, more: int
) -> None:
    index = which % len(nodes)
    larger = [*nodes]
    larger[index] = replace(nodes[index], memory=nodes[index].memory + more * GIB)
    assert rank(wish, attempt(wish, facts, larger)) <= rank(wish, attempt(wish, facts, nodes))


@settings(max_examples=100, deadline=None)
@given(models, machines, specs, st.randoms(use_true_random=False))
def test_the_same_nodes_in_any_order_give_the_same_plan(
    facts: ModelFacts, nodes: list[NodeFacts], wish: ModelDeploymentSpec, random: object
) -> None:
    shuffled = [*nodes]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert attempt(wish, facts, shuffled) == attempt(wish, facts, nodes)


@settings(max_examples=100, deadline=None)
@given(models, machines)
def test_quality_is_never_below_throughput(facts: ModelFacts, nodes: list[NodeFacts]) -> None:
    best = attempt(spec(optimize={"goal": "quality"}), facts, nodes)
    usual = attempt(spec(), facts, nodes)
    assert (best is None) == (usual is None)
    if best and usual:
        assert CPU_QUALITY.index(best.level) <= CPU_QUALITY.index(usual.level)


@settings(max_examples=100, deadline=None)
@given(models, machines, specs)
def test_a_refusal_names_a_node_or_why_there_is_none(
    facts: ModelFacts, nodes: list[NodeFacts], wish: ModelDeploymentSpec
) -> None:
    if attempt(wish, facts, nodes) is not None:
        return
    with pytest.raises(NothingFitsError) as caught:
        decide(wish, facts, nodes, Settings())
    assert any(one.name in caught.value.message for one in nodes)


gpu_machines = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4)
gpu_specs = st.builds(
    lambda goal, concurrency, context: spec(
        **({"optimize": {"goal": goal}} if goal else {}),
        engine={"contextLength": context, **({"concurrency": concurrency} if concurrency else {})},
    ),
    st.sampled_from(["", "throughput", "quality", "latency", "cost"]),
    st.sampled_from([None, 1, 8]),
    st.sampled_from([512, 2048]),
)
WHOLE = Settings()


def gpu_attempt(wish: ModelDeploymentSpec, facts: ModelFacts, nodes: list[NodeFacts]) -> Plan | None:
    try:
        return decide(wish, facts, nodes, WHOLE)
    except NothingFitsError:
        return None


@given(models, gpu_machines, gpu_specs)
@settings(max_examples=150, deadline=None)
def test_devices_hold_what_is_planned_for_them(
    facts: ModelFacts, kinds: list[str], wish: ModelDeploymentSpec
) -> None:
    nodes = [node_facts(gpu_node(kind, f"{kind}-{index}")) for index, kind in enumerate(kinds)]
    found = gpu_attempt(wish, facts, nodes)
    if found is None or found.accelerator is None:
        return
    device, parallel = found.accelerator, found.parallel
    homes = [
        (one, gpu)
        for one in nodes
        for gpu in one.gpus
        if gpu.resource == device.resource and gpu.product == device.product and gpu.memory == device.memory
        if set(found.node_selector) <= set(one.labels) and gpu.count >= device.count
        if one.memory - NODE_RESERVE >= found.resources.memory
    ]
    assert len(homes) >= parallel.pods
    assert device.count * parallel.pods == parallel.devices
    if found.gpu_layers is None:
        assert found.memory.total <= device.memory * parallel.devices * 0.9 + 2**20
    else:
        assert 0 < found.gpu_layers < facts.layers
    assert facts.heads % parallel.tensor == 0
    if found.form == "safetensors":
        assert parallel.pipeline <= facts.layers


@given(models, gpu_machines, gpu_specs)
@settings(max_examples=60, deadline=None)
def test_the_same_nodes_give_the_same_plan_in_any_order(
    facts: ModelFacts, kinds: list[str], wish: ModelDeploymentSpec
) -> None:
    nodes = [node_facts(gpu_node(kind, f"{kind}-{index}")) for index, kind in enumerate(kinds)]
    assert gpu_attempt(wish, facts, nodes) == gpu_attempt(wish, facts, list(reversed(nodes)))


@given(
    models,
    st.sampled_from(["t4", "l4", "a10g", "rtx-4060-laptop", "a100-80gb", "h100"]),
    st.integers(4, 190),
    st.integers(0, 60),
    st.sampled_from(["", "throughput", "quality"]),
)
@settings(max_examples=200, deadline=None)
def test_more_device_memory_never_gives_a_worse_level(
    facts: ModelFacts, kind: str, gib: int, more: int, goal: str
) -> None:
    wish = spec(**({"optimize": {"goal": goal}} if goal else {}))
    less, greater = (gpu_attempt(wish, facts, [with_memory(kind, one)]) for one in (gib, gib + more))
    if less is None:
        return
    assert greater is not None
    assert bits_class(greater) <= bits_class(less)
    if goal == "quality":
        assert loss_of(greater.method, greater.level) <= loss_of(less.method, less.level)


def with_memory(kind: str, gib: int) -> NodeFacts:
    raw = gpu_node(kind, "one")
    raw["metadata"]["labels"]["nvidia.com/gpu.memory"] = str(gib * 1024)
    raw["status"]["allocatable"]["memory"] = "4Ti"
    return node_facts(raw)


def bits_class(found: Plan) -> int:
    """16 bits and FP8, other 8 bits, 4 and 5 bits, fewer: where engines change, levels compare by that."""
    loss = loss_of(found.method, found.level)
    return 0 if loss < 1 else 1 if loss < 2 else 2 if loss <= 5 else 3
