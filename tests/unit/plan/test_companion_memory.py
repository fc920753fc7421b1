"""Room that is left beside a draft: on devices, for layers, in node memory, and in each copy of a model."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import decide
from slipway.errors import NothingFitsError
from slipway.plan.decision import Plan
from slipway.plan.facts import NodeFacts
from slipway.plan.nodes import node_facts
from slipway.plan.quantities import GIB
from slipway.settings import Settings
from tests.support.companions import DRAFT, companions
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import MODELS, NODES, spec

BASE = MODELS["llama3-8b"]
PLAIN: dict[str, Any] = {"optimize": {"method": "none"}}


def wish(fields: dict[str, Any], *, drafting: bool = True, **engine: Any) -> ModelDeploymentSpec:
    guess = {"speculative": {"draft": DRAFT}} if drafting else {}
    return spec(**fields, engine={**engine, **guess})


def planned(
    asked: ModelDeploymentSpec, machine: NodeFacts, form: str = "safetensors", **changes: Any
) -> Plan:
    return decide(asked, BASE, [machine], Settings(), companions(asked, BASE, form, **changes))


def card(kind: str, count: int = 1) -> NodeFacts:
    return node_facts(gpu_node(kind, "n", count))


def test_requests_share_what_a_draft_leaves() -> None:
    asked = wish(PLAIN, name="vllm")
    small, large = (planned(asked, card("h100"), weight_bytes=size * GIB) for size in (1, 50))
    assert large.memory.companions == 50 * GIB
    assert large.concurrency < small.concurrency
    for plan in (small, large):
        assert plan.accelerator
        assert plan.memory.total <= plan.accelerator.memory * plan.accelerator.share / 100


def test_a_draft_that_leaves_no_room_for_its_model_is_no_plan() -> None:
    with pytest.raises(NothingFitsError, match=r"needs 97\.4 GiB of device memory, 79\.6 GiB are there"):
        planned(wish(PLAIN, name="vllm"), card("h100"), weight_bytes=70 * GIB)


def test_each_copy_of_a_model_has_its_draft() -> None:
    one = planned(wish(PLAIN, name="vllm"), card("h100"))
    two = planned(wish(PLAIN, name="vllm", dataParallel=2), card("h100", 2))
    assert two.memory.companions == 2 * one.memory.companions > 0


def test_layers_make_room_for_a_draft_on_their_device() -> None:
    asked = wish({"optimize": {"level": "Q8_0"}}, name="llamacpp", concurrency=1, contextLength=2048)
    assert planned(asked, card("t4"), "gguf").gpu_layers is None
    plan = planned(asked, card("t4"), "gguf", facts=BASE)
    assert plan.gpu_layers
    assert plan.accelerator
    part, memory = plan.gpu_layers / BASE.layers, plan.memory
    on_device = (memory.weights + memory.kv_cache) * part + memory.total - memory.weights - memory.kv_cache
    usable = plan.accelerator.memory * plan.accelerator.share / 100
    assert on_device <= usable < on_device + (memory.weights + memory.kv_cache) / BASE.layers


def test_node_memory_holds_the_drafts_cache_too() -> None:
    fixed = {"name": "vllm", "concurrency": 16, "contextLength": 8192}
    alone = planned(wish(PLAIN, drafting=False, **fixed), NODES["server-64"])
    both = planned(wish(PLAIN, **fixed), NODES["server-64"])
    assert both.memory.companions == MODELS["smollm2-135m"].weight_bytes
    # SmolLM2 135M: 30 layers of 3 KV heads, each with a key and a value of 64 elements of 2 bytes.
    exact = 2 * 30 * 3 * 64 * 2 * 16 * 8192
    assert abs(both.memory.kv_cache - alone.memory.kv_cache - exact) < GIB
    assert both.resources.memory - alone.resources.memory >= exact - GIB + both.memory.companions
