"""Adapters that are merged: what is refused before a byte moves, and what the planner sees of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import decide
from slipway.errors import InvalidSpecError
from slipway.manifests.chains import artifact_chain
from slipway.plan.companions import companion_from_wire, wanted
from slipway.plan.merging import beside, is_another, merged
from slipway.settings import Settings
from tests.support.companions import adapter, companions
from tests.support.planning import COMMIT, MODELS, NODES, spec

FACTS = MODELS["smollm2-135m"]
NODE = NODES["server-64"]


def merging(*adapters: dict[str, Any], **fields: Any) -> ModelDeploymentSpec:
    chosen = list(adapters) or [adapter("sql", mode="merge")]
    return spec(model={"source": "hf://acme/model", "adapters": chosen}, **fields)


def refusal(wish: ModelDeploymentSpec, facts: Any = FACTS, **changes: Any) -> InvalidSpecError:
    with pytest.raises(InvalidSpecError) as caught:
        decide(wish, facts, [NODE], Settings(), companions(wish, FACTS, "gguf", **changes))
    return caught.value


@pytest.mark.parametrize(
    ("base", "source", "another"),
    [
        ("acme/model", "hf://acme/model", False),
        ("mirror/Model", "hf://acme/model", False),
        ("acme/other", "hf://acme/model", True),
        ("acme/other", "modelscope://acme/model", True),
        ("", "hf://acme/model", False),
        ("/home/me/other", "hf://acme/model", False),
        ("./other", "hf://acme/model", False),
        ("acme/other", "s3://bucket/models/x", False),
    ],
)
def test_names_of_bases(base: str, source: str, another: bool) -> None:
    assert is_another(base, source) is another


def test_an_adapter_of_another_base_is_refused_unless_it_is_meant() -> None:
    wish = merging()
    (one,) = companions(wish, FACTS, "gguf")
    with pytest.raises(InvalidSpecError) as caught:
        decide(wish, FACTS, [NODE], Settings(), [replace(one, base="acme/other")])
    found = caught.value
    assert found.reason == "AdapterMismatch"
    for words in ("sql", "acme/other", "hf://acme/model", "allowOtherBase"):
        assert words in found.message
    meant = merging(adapter("sql", mode="merge", allowOtherBase=True))
    assert decide(meant, FACTS, [NODE], Settings(), [replace(one, base="acme/other")])


def test_an_adapter_of_another_size_is_refused() -> None:
    found = refusal(merging(), hidden_size=4096)
    assert (found.reason, "4096" in found.message) == ("AdapterMismatch", True)


def test_a_model_that_comes_quantised_is_refused() -> None:
    found = refusal(merging(), replace(FACTS, quantization="awq"))
    assert found.reason == "UnsupportedQuantization"


def test_the_plan_is_that_of_the_model_alone() -> None:
    wish = merging()
    alone = decide(spec(), FACTS, [NODE], Settings())
    found = decide(wish, FACTS, [NODE], Settings(), companions(wish, FACTS, "gguf", rank=4096))
    assert found == alone  # also: llama.cpp, which has no adapters under names of their own, merges


def test_only_what_is_served_asks_an_engine_for_adapters() -> None:
    both = merging(adapter("sql", mode="merge"), adapter("tone"))
    found = companions(both, FACTS)
    assert [one.name for one in merged(found)] == ["sql"]
    assert [one.name for one in beside(found)] == ["tone"]
    with pytest.raises(InvalidSpecError, match="LoRA adapters under names"):
        decide(both, FACTS, [NODE], Settings(), found)


def test_facts_come_from_the_inspection_and_the_weight_from_the_spec() -> None:
    (one,) = wanted(merging(adapter("sql", mode="merge", weight=0.5)))
    raw = {"rank": 8, "hiddenSize": 64, "base": "acme/model", "whole": True, "targets": ["q_proj"]}
    found = companion_from_wire(one, COMMIT, raw)
    assert (found.key, found.kind, found.weight, found.whole) == ("adapter-sql", "merge", "0.5", True)


def chain(*adapters: dict[str, Any], **changes: Any) -> Any:
    wish = merging(*adapters)
    found = companions(wish, FACTS, "gguf", **changes)
    plan = decide(wish, FACTS, [NODE], Settings(), found)
    return artifact_chain(wish, COMMIT, plan, found), found


def test_the_merged_model_stands_in_place_of_the_source() -> None:
    (source, merge, f16, level), found = chain(
        adapter("b", mode="merge", weight=-1.5), adapter("a", mode="merge")
    )
    assert [one.parent for one in (source, merge, f16, level)] == [None, source.name, merge.name, f16.name]
    assert (merge.made.method, merge.level, merge.made.expected_bytes) == (
        "merge",
        "MERGED",
        source.made.expected_bytes,
    )
    assert merge.made.options == {"adapter-01": "b=-1.5", "adapter-02": "a=1"}
    assert merge.made.inputs == {f"adapter-{one.name}": one.artifacts[0] for one in found}


def test_weights_order_and_commits_are_in_the_name() -> None:
    one, two = adapter("a", mode="merge"), adapter("b", mode="merge")
    names = {
        chain(one)[0][1].name,
        chain(two)[0][1].name,
        chain({**one, "weight": 0.5})[0][1].name,
        chain(one, two)[0][1].name,
        chain(two, one)[0][1].name,
    }
    assert len(names) == 5
    wish = merging(one)
    other = companions(wish, FACTS, "gguf", artifacts=("model-source-other",))
    plan = decide(wish, FACTS, [NODE], Settings(), other)
    assert chain(one)[0][0].name == artifact_chain(wish, COMMIT, plan, other)[0].name
    assert chain({**one, "weight": 1.0})[0] == chain(one)[0]


def test_an_adapter_that_peft_merges_takes_the_whole_model_in_memory() -> None:
    assert chain(adapter("a", mode="merge"), whole=True)[0][1].made.options["whole"] == "true"


def test_an_engine_of_safetensors_serves_the_merged_model_itself() -> None:
    wish = merging(engine={"name": "vllm"})
    found = companions(wish, FACTS, "safetensors")
    plan = decide(wish, FACTS, [NODE], Settings(), found)
    assert (plan.form, plan.method, plan.memory.companions) == ("safetensors", "none", 0)
    assert [one.made.method for one in artifact_chain(wish, COMMIT, plan, found)] == ["source", "merge"]
