"""Pruned models in the plan: fewer layers are planned with, zeros are not; the chain, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.engines import decide
from slipway.errors import InvalidSpecError
from slipway.manifests.chains import artifact_chain
from slipway.plan.pruning import prune_of, prune_options, pruned_facts
from slipway.plan.spec_hash import planning_hash
from slipway.settings import Settings
from tests.support.companions import adapter, companions
from tests.support.planning import COMMIT, MODELS, NODES, spec

FACTS = MODELS["llama-7b"]
NODE = NODES["server-64"]


def pruning(**prune: Any) -> Any:
    return spec(optimize={"prune": prune})


def test_fewer_layers_are_fewer_weights_and_less_cache() -> None:
    wish = pruning(dropLayers="25%")
    found = pruned_facts(wish, FACTS)
    assert (found.layers, found.download_bytes) == (24, FACTS.download_bytes)
    assert 0.75 * FACTS.parameters < found.parameters < 0.78 * FACTS.parameters
    whole, short = (decide(one, FACTS, [NODE], Settings()) for one in (spec(), wish))
    assert short.memory.kv_cache == whole.memory.kv_cache * 24 // 32
    assert short.memory.weights < 0.8 * whole.memory.weights
    assert short.sizes.source == whole.sizes.source


def test_zeros_take_as_much_memory_as_before() -> None:
    wish = pruning(method="wanda", pattern="2:4")
    assert pruned_facts(wish, FACTS) == FACTS
    assert pruned_facts(spec(), FACTS) == FACTS
    assert pruned_facts(pruning(layers=[31, 3, 3]), FACTS).layers == 30


@pytest.mark.parametrize(
    ("prune", "facts", "reason", "words"),
    [
        ({"layers": [32]}, FACTS, "InvalidSpec", "no layer 32"),
        ({"layers": list(range(32))}, FACTS, "InvalidSpec", "no layer would be left"),
        ({"dropLayers": "2%"}, FACTS, "InvalidSpec", "is none"),
        ({"dropLayers": "25%"}, replace(FACTS, quantization="awq"), "UnsupportedQuantization", "16-bit"),
    ],
    ids=str,
)
def test_what_can_not_be_is_refused(prune: dict[str, Any], facts: Any, reason: str, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words) as caught:
        decide(pruning(**prune), facts, [NODE], Settings())
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("prune", "level", "options"),
    [
        ({"method": "magnitude", "sparsity": "50%"}, "SPARSE", {"by": "magnitude", "sparsity": "0.5"}),
        ({"method": "sparsegpt", "pattern": "2:4"}, "SPARSE", {"by": "sparsegpt", "pattern": "2:4"}),
        ({"layers": [5, 2]}, "SHORT", {"layers": "2,5"}),
        ({"dropLayers": "25%"}, "SHORT", {"drop": "25%"}),
    ],
    ids=str,
)
def test_the_pruned_model_stands_between_source_and_level(
    prune: dict[str, Any], level: str, options: dict[str, str]
) -> None:
    wish = pruning(**prune)
    plan = decide(wish, FACTS, [NODE], Settings())
    source, short, f16, _ = artifact_chain(wish, COMMIT, plan)
    assert (short.made.method, short.level, short.made.options) == ("prune", level, options)
    assert (short.parent, f16.parent) == (source.name, short.name)
    known = prune_of(wish)
    assert known is not None
    assert prune_options(known) == options
    assert planning_hash(wish) != planning_hash(spec())


def test_what_is_merged_is_merged_before() -> None:
    model = {"source": "hf://acme/model", "adapters": [adapter("sql", mode="merge")]}
    wish = spec(model=model, optimize={"prune": {"layers": [1]}, "method": "none"})
    found = companions(wish, FACTS, "gguf")
    plan = decide(wish, FACTS, [NODE], Settings(), found)
    chain = artifact_chain(wish, COMMIT, plan, found)
    assert [one.made.method for one in chain] == ["source", "merge", "prune", "gguf"]
    assert [one.parent for one in chain[1:]] == [one.name for one in chain[:-1]]
