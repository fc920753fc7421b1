"""What holds for every model on every cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.errors import NothingFitsError
from slipway.plan.decide import NODE_RESERVE, decide
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts, NodeFacts
from slipway.plan.nodes import unsuitable
from slipway.plan.options import BALANCED_LEVELS, QUALITY_LEVELS
from slipway.settings import Settings
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
    levels = QUALITY_LEVELS if wish.optimize and wish.optimize.goal == "quality" else BALANCED_LEVELS
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
        assert QUALITY_LEVELS.index(best.level) <= QUALITY_LEVELS.index(usual.level)


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
