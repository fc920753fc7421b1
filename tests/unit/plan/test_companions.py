"""What is served beside a model: named by the spec, held against the model, counted in its memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import decide, problems
from slipway.errors import InvalidSpecError, NothingFitsError
from slipway.plan.companion_memory import adapter_bytes, beside, gguf_bytes
from slipway.plan.companions import Wanted, companion_from_wire, refuse_mismatch, role, wanted
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts
from slipway.plan.fitting import NODE_RESERVE
from slipway.plan.memory import engine_memory
from slipway.plan.nodes import node_facts
from slipway.plan.quantities import MIB
from slipway.plan.summary import plan_status
from slipway.settings import Settings
from tests.support.companions import DRAFT, adapter, companions
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import COMMIT, MODELS, NODES, node, spec
from tests.support.stage_results import FACTS

BASE = replace(MODELS["llama3-8b"], vocabulary="a" * 16)
H100 = node_facts(gpu_node("h100", "h"))


def drafting(method: str = "draft", **engine: Any) -> ModelDeploymentSpec:
    guess = {"method": method, "draft": DRAFT} | engine.pop("speculative", {})
    return spec(engine={"speculative": guess, **engine})


def adapted(*names: str, **engine: Any) -> ModelDeploymentSpec:
    model = {"source": "hf://acme/model", "adapters": [adapter(name) for name in names]}
    return spec(model=model, engine=engine)


def planned(wish: ModelDeploymentSpec, facts: ModelFacts = BASE, machine: Any = H100, **changes: Any) -> Plan:
    form = "gguf" if machine is not H100 else "safetensors"
    return decide(wish, facts, [machine], Settings(), companions(wish, facts, form, **changes))


def refusal(wish: ModelDeploymentSpec, facts: ModelFacts = BASE, **changes: Any) -> InvalidSpecError:
    with pytest.raises(InvalidSpecError) as caught:
        planned(wish, facts, **changes)
    return caught.value


def test_what_guesses_comes_first_then_the_adapters() -> None:
    model = {"source": "hf://acme/model", "adapters": [adapter("sql"), adapter("draft", revision="v2")]}
    found = wanted(spec(model=model, engine={"speculative": {"draft": DRAFT}}))
    assert [(one.key, one.kind, one.revision) for one in found] == [
        ("draft", "draft", None),
        ("adapter-sql", "lora", None),
        ("adapter-draft", "lora", "v2"),
    ]
    assert found[2].field == "spec.model.adapters[1]"
    assert wanted(spec()) == wanted(spec(engine={"speculative": {"tokens": 3}})) == ()


def test_only_a_draft_asks_for_the_vocabulary() -> None:
    assert role(drafting()) == "base"
    assert role(drafting("mlp")) == role(adapted("sql")) == role(spec()) == ""


def test_tokens_have_a_default_for_each_method() -> None:
    counts = {
        method: drafting(method).engine.speculative.count  # type: ignore[union-attr]
        for method in ("draft", "mlp", "medusa")
    }
    assert counts == {"draft": 5, "mlp": 3, "medusa": 3}
    ngram = spec(engine={"speculative": {}}).engine
    assert ngram is not None
    assert ngram.speculative is not None
    assert (ngram.speculative.kind, ngram.speculative.count) == ("ngram", 5)


def test_facts_come_from_the_inspections() -> None:
    draft = companion_from_wire(wanted(drafting())[0], COMMIT, {**FACTS, "vocabulary": "b" * 16})
    assert draft.facts is not None
    assert (draft.facts.vocabulary, draft.download_bytes) == ("b" * 16, FACTS["downloadBytes"])
    one = Wanted("sql", "lora", "hf://acme/sql", None, "spec.model.adapters[0]")
    raw = {"rank": 8, "hiddenSize": 64, "weightBytes": 3, "downloadBytes": 4, "license": "mit", "base": "x"}
    found = companion_from_wire(one, COMMIT, raw)
    assert (found.rank, found.hidden_size, found.uri, found.name) == (8, 64, "hf://acme/sql", "sql")
    with pytest.raises(ValueError, match="incomplete"):
        companion_from_wire(one, COMMIT, {**raw, "rank": "8"})


def test_a_draft_of_another_vocabulary_is_refused() -> None:
    other = replace(MODELS["smollm2-135m"], vocab_size=128_256, vocabulary="b" * 16)
    with pytest.raises(InvalidSpecError) as caught:
        refuse_mismatch(drafting(), BASE, companions(drafting(), BASE, facts=other))
    assert caught.value.reason == "DraftVocabulary"
    for words in ("hf://acme/draft", "a" * 16, "b" * 16, "128256", "method ngram"):
        assert words in caught.value.message


@pytest.mark.parametrize(
    ("size", "known", "taken"), [(128_256, True, True), (128_128, True, False), (1, False, False)]
)
def test_vllm_takes_no_other_number_of_tokens(size: int, known: bool, taken: bool) -> None:
    draft = replace(MODELS["smollm2-135m"], vocab_size=size, vocabulary=BASE.vocabulary if known else "")
    wish = drafting(name="vllm")
    found = companions(wish, BASE, facts=draft)
    if taken:
        assert decide(wish, BASE, [H100], Settings(), found).engine == "vllm"
        return
    with pytest.raises(InvalidSpecError, match=str(size)) as caught:
        decide(wish, BASE, [H100], Settings(), found)
    assert ("llamacpp would take them" in caught.value.message) is known


def test_llama_cpp_takes_unused_rows() -> None:
    wish = drafting(name="llamacpp")
    draft = replace(MODELS["smollm2-135m"], vocab_size=BASE.vocab_size - 128, vocabulary=BASE.vocabulary)
    assert decide(wish, BASE, [NODES["server-64"]], Settings(), companions(wish, BASE, "gguf", facts=draft))
    more = replace(draft, vocab_size=BASE.vocab_size - 129)
    with pytest.raises(InvalidSpecError, match="another vocabulary"):
        refuse_mismatch(wish, BASE, companions(wish, BASE, "gguf", facts=more))


def test_what_was_made_for_another_model_is_refused() -> None:
    heads = refusal(drafting("mlp"), hidden_size=5120)
    assert (heads.reason, "5120" in heads.message, "4096" in heads.message) == (
        "CompanionMismatch",
        True,
        True,
    )
    assert refusal(drafting("medusa"), vocab_size=32_000).reason == "DraftVocabulary"
    assert "3 heads" in refusal(drafting("mlp", speculative={"tokens": 4})).message
    assert "spec.model.adapters[0]" in refusal(adapted("sql"), hidden_size=5120).message
    assert "rank 1024" in refusal(adapted("sql"), rank=1024).message


def test_what_is_not_known_is_left_to_the_engine() -> None:
    assert planned(drafting("medusa"), hidden_size=0, vocab_size=0, heads=0)
    assert planned(adapted("sql"), hidden_size=0)


def test_a_draft_is_counted_in_llama_servers_memory() -> None:
    wish = drafting(concurrency=2, contextLength=2048)
    alone = planned(spec(engine={"concurrency": 2, "contextLength": 2048}), machine=NODES["server-64"])
    both = planned(wish, machine=NODES["server-64"])
    found = companions(wish, BASE, "gguf")
    assert found[0].facts is not None
    parts = engine_memory(found[0].facts, "Q8_0", 2048, 2)
    assert both.memory.companions == gguf_bytes(found, 2048, 2)
    assert both.memory.companions == parts.total - parts.overhead + 4 * 512 * BASE.vocab_size
    assert both.memory.total - alone.memory.total == both.memory.companions
    assert both.resources.memory > alone.resources.memory + both.memory.companions
    assert plan_status(both).memory.companions == both.memory.companions
    assert plan_status(alone).memory.companions is None


def test_a_draft_that_does_not_fit_beside_its_model_is_no_plan() -> None:
    fixed = {"concurrency": 4, "contextLength": 4096}
    alone = planned(spec(optimize={"level": "Q4_K_M"}, engine=fixed), machine=NODES["server-64"])
    exact = node("exact", 8, f"{(alone.resources.memory + NODE_RESERVE) // MIB}Mi")
    assert planned(spec(optimize={"level": "Q4_K_M"}, engine=fixed), machine=exact)
    wish = spec(optimize={"level": "Q4_K_M"}, engine={**fixed, "speculative": {"draft": DRAFT}})
    with pytest.raises(NothingFitsError, match="Q4_K_M"):
        planned(wish, machine=exact)


def test_devices_hold_the_draft_and_its_cache() -> None:
    fixed = {"concurrency": 8, "contextLength": 4096, "name": "vllm"}
    alone, both = planned(spec(engine=fixed)), planned(drafting(**fixed))
    found = beside(BASE, companions(drafting(**fixed), BASE))
    assert both.memory.companions == found.weights == MODELS["smollm2-135m"].weight_bytes
    assert both.memory.kv_cache - alone.memory.kv_cache == found.kv_token * 8 * 4096


def test_adapters_take_places_of_the_largest_rank() -> None:
    found = companions(adapted("sql", "tone"), BASE)
    # Llama 3 8B: queries and outputs 4096 x 4096, keys and values 4096 x 1024, three of 4096 x 14336.
    width = 2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336)
    exact = 3 * 32 * width * 32 * 2  # a place more, and rank 24 is served by the kernel of 32
    # Its output matrix is counted as part of the layers, since facts don't say whether there is one.
    assert exact <= adapter_bytes(BASE, found) <= 1.06 * exact
    assert adapter_bytes(BASE, [replace(one, weight_bytes=10**9) for one in found]) == 3 * 10**9
    assert adapter_bytes(BASE, ()) == 0
    assert planned(adapted("sql", "tone")).memory.companions == adapter_bytes(BASE, found)


def test_the_planner_takes_an_engine_that_has_what_is_asked_for() -> None:
    assert planned(adapted("sql")).engine == "vllm"
    rejected = {one.option: one.reason for one in planned(adapted("sql")).rejected}
    assert "no LoRA adapters under names of their own (spec.model.adapters)" in rejected["llamacpp"]
    with pytest.raises(NothingFitsError, match=r"spec\.model\.adapters"):
        planned(adapted("sql"), machine=NODES["server-64"])


def test_a_draft_goes_with_no_pipeline_and_shares_its_heads_evenly() -> None:
    cards = [node_facts(gpu_node("l4", name, 8)) for name in ("a", "b")]
    beside = companions(drafting(name="vllm"), BASE)  # the draft has 9 heads, its model 32
    big = replace(MODELS["qwen2.5-32b"], vocab_size=BASE.vocab_size, vocabulary=BASE.vocabulary)
    with pytest.raises(NothingFitsError):
        decide(drafting(name="vllm"), big, cards, Settings(), beside)
    even = replace(beside[0].facts or BASE, heads=32, kv_heads=8)
    plan = decide(drafting(name="vllm"), big, cards, Settings(), [replace(beside[0], facts=even)])
    assert (plan.parallel.tensor, plan.parallel.pipeline) == (2, 1)
    with pytest.raises(NothingFitsError, match="guessed tokens go with no pipeline"):
        planned(drafting(name="vllm", pipelineParallel=2))


def test_a_draft_that_can_not_be_converted_is_none_for_llama_cpp() -> None:
    wish = drafting(name="llamacpp")
    (draft,) = companions(wish, MODELS["smollm2-135m"], "gguf")
    assert draft.facts
    for facts in (replace(draft.facts, convertible=False), replace(draft.facts, quantization="awq")):
        with pytest.raises(NothingFitsError, match="draft hf://acme/draft can't become GGUF"):
            decide(wish, MODELS["smollm2-135m"], [NODES["local"]], Settings(), [replace(draft, facts=facts)])


def test_sglang_says_that_it_serves_no_adapters_beside_a_draft() -> None:
    model = {"source": "hf://acme/model", "adapters": [adapter("sql")]}
    both = spec(model=model, engine={"name": "sglang", "speculative": {"draft": DRAFT}})
    assert "no adapters while a draft model guesses" in "; ".join(one.message for one in problems(both))
    vllm = spec(model=model, engine={"name": "vllm", "speculative": {"draft": DRAFT}})
    assert problems(vllm) == []
