"""The decision, as a table: who has which nodes, and what they get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from slipway.engines import decide
from slipway.errors import InvalidSpecError, NothingFitsError
from slipway.plan.decision import Plan
from slipway.plan.facts import NodeFacts
from slipway.plan.summary import STATUS_REJECTED, plan_status
from slipway.settings import Settings
from tests.support.planning import MODELS, NODES, node, spec

QUALITY = {"optimize": {"goal": "quality"}}
TOLERANT = {
    "engine": {
        "podOverrides": {"tolerations": [{"key": "dedicated", "value": "models", "effect": "NoSchedule"}]}
    }
}


@dataclass(frozen=True)
class Case:
    """One row: a model on nodes with a spec gets this level at this context x concurrency."""

    model: str
    nodes: str
    level: str
    context: int = 4096
    concurrency: int = 4
    spec: Any = None


CASES = {
    "demo": Case("smollm2-135m", "local", "Q4_K_M"),
    "demo, quality": Case("smollm2-135m", "local", "Q8_0", spec=QUALITY),
    "tiny node": Case("smollm2-135m", "nano", "Q4_K_M", concurrency=2),
    "half a billion on a tiny node": Case(
        "qwen2.5-0.5b", "nano", "Q2_K", context=2048, concurrency=1, spec={"engine": {"contextLength": 2048}}
    ),
    "raspberry pi, 0.5B": Case("qwen2.5-0.5b", "pi", "Q4_K_M"),
    "raspberry pi, 1.5B": Case("qwen2.5-1.5b", "pi", "Q4_K_M"),
    "raspberry pi, 1.5B, quality": Case("qwen2.5-1.5b", "pi", "Q8_0", spec=QUALITY),
    "raspberry pi, 3B": Case("llama3.2-3b", "pi", "Q4_K_M", concurrency=2),
    "raspberry pi, 3B, quality keeps the best that fits": Case(
        "llama3.2-3b", "pi", "Q5_K_M", concurrency=1, spec=QUALITY
    ),
    "raspberry pi, 7B, short context": Case(
        "llama-7b", "pi", "Q2_K", context=512, concurrency=1, spec={"engine": {"contextLength": 512}}
    ),
    "8 GB laptop, 7B": Case("llama-7b", "laptop-8", "Q4_K_M", concurrency=1),
    "8 GB laptop, 8B": Case("llama3-8b", "laptop-8", "Q4_K_M", concurrency=2),
    "16 GB laptop, 7B": Case("llama-7b", "laptop-16", "Q4_K_M"),
    "16 GB laptop, 7B, quality": Case("llama-7b", "laptop-16", "Q8_0", concurrency=2, spec=QUALITY),
    "16 GB laptop, 8B": Case("llama3-8b", "laptop-16", "Q4_K_M"),
    "16 GB laptop, 13B": Case("llama2-13b", "laptop-16", "Q4_K_M", concurrency=1),
    "16 GB laptop, 32B, short context": Case(
        "qwen2.5-32b", "laptop-16", "Q2_K", context=512, spec={"engine": {"contextLength": 512}}
    ),
    "server, 70B": Case("llama2-70b", "server-64", "Q4_K_M"),
    "server, 70B, quality": Case("llama2-70b", "server-64", "Q8_0", spec=QUALITY),
    "latency": Case("llama3-8b", "server-64", "Q4_K_M", spec={"optimize": {"goal": "latency"}}),
    "cost": Case("llama3-8b", "server-64", "Q4_K_M", spec={"optimize": {"goal": "cost"}}),
    "fixed level": Case("llama3-8b", "server-64", "Q5_K_S", spec={"optimize": {"level": "Q5_K_S"}}),
    "fixed level, fewer at once to keep it": Case(
        "llama3-8b", "laptop-8", "Q5_K_M", concurrency=1, spec={"optimize": {"level": "Q5_K_M"}}
    ),
    "no quantisation": Case("llama-7b", "server-64", "F16", spec={"optimize": {"method": "none"}}),
    "level F16": Case("llama-7b", "server-64", "F16", spec={"optimize": {"level": "F16"}}),
    "fixed concurrency": Case(
        "llama3-8b", "server-64", "Q4_K_M", concurrency=32, spec={"engine": {"concurrency": 32}}
    ),
    "fixed concurrency costs the level": Case(
        "llama2-13b", "laptop-16", "Q3_K_M", context=2048, concurrency=4,
        spec={"engine": {"concurrency": 4, "contextLength": 2048}},
    ),
    "longest context": Case(
        "llama3-8b", "server-64", "Q4_K_M", context=8192, spec={"engine": {"contextLength": 8192}}
    ),
    "memory as a budget": Case(
        "llama3-8b", "server-64", "Q8_0", concurrency=2,
        spec={**QUALITY, "engine": {"resources": {"memory": "10Gi"}}},
    ),
    "memory as a tight budget": Case(
        "llama3-8b", "server-64", "Q4_K_M", concurrency=2, spec={"engine": {"resources": {"memory": "6Gi"}}}
    ),
    "tolerated taint": Case("llama3-8b", "tainted", "Q4_K_M", spec=TOLERANT),
    "selector": Case(
        "llama3-8b", "labelled server-64", "Q4_K_M",
        spec={"engine": {"podOverrides": {"nodeSelector": {"pool": "models"}}}},
    ),
    "a GPU node's cores serve too": Case("llama3-8b", "gpu", "Q4_K_M"),
    "the larger of two": Case("llama2-13b", "pi laptop-16", "Q4_K_M", concurrency=1),
}  # fmt: skip


def nodes(names: str) -> list[NodeFacts]:
    known = {**NODES, "windows": replace(NODES["server-64"], name="windows", os="windows")}
    return [known[name] for name in names.split()]


def plan(model: str, names: str, **fields: Any) -> Plan:
    return decide(spec(**fields), MODELS[model], nodes(names), Settings())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_table(case: Case) -> None:
    found = plan(case.model, case.nodes, **(case.spec or {}))
    assert (found.level, found.context_length, found.concurrency) == (
        case.level,
        case.context,
        case.concurrency,
    )
    assert found.method == ("none" if case.level == "F16" else "gguf")
    assert found.engine == "llamacpp"
    assert case.level in found.reason


REFUSED = {
    "no nodes": ("smollm2-135m", "", {}, "NoNodes", "no nodes"),
    "too small": ("llama-7b", "nano", {}, "NothingFits", "node is nano"),
    "70B on a laptop": ("llama2-70b", "laptop-16 pi", {}, "NothingFits", "node is laptop-16"),
    "windows": ("smollm2-135m", "windows", {}, "NothingFits", "operating system windows"),
    "all down": ("smollm2-135m", "down", {}, "NothingFits", "not ready"),
    "taint": ("smollm2-135m", "tainted", {}, "NothingFits", "dedicated=models:NoSchedule"),
    "foreign architecture": ("smollm2-135m", "riscv", {}, "NothingFits", "riscv64"),
    "selector matches nothing": (
        "smollm2-135m", "local", {"engine": {"podOverrides": {"nodeSelector": {"pool": "models"}}}},
        "NothingFits", "pool=models",
    ),
    "memory beyond every node": (
        "smollm2-135m", "local", {"engine": {"resources": {"memory": "900Gi"}}}, "NothingFits", "900.0 GiB",
    ),
    "memory too small": (
        "llama3-8b", "server-64", {"engine": {"resources": {"memory": "1Gi"}}},
        "NothingFits", "resources.memory of 1.0 GiB is too small",
    ),
    "cores beyond every node": (
        "smollm2-135m", "local", {"engine": {"resources": {"cpu": "3"}}}, "NothingFits", "3 cores",
    ),
    "fixed level does not fit": (
        "llama3-8b", "pi", {"optimize": {"level": "Q8_0"}}, "NothingFits", "Q8_0, 1 request",
    ),
    "unknown level": ("smollm2-135m", "local", {"optimize": {"level": "Q9_Z"}}, "UnknownLevel", "Q4_K_M"),
    "level in small letters": (
        "smollm2-135m", "local", {"optimize": {"level": "iq2_xs"}}, "UnknownLevel",
        "'iq2_xs' is written in capitals; use auto or one of: F16",
    ),
    "MXFP4 without experts": (
        "smollm2-135m", "local", {"optimize": {"level": "MXFP4_MOE"}}, "InvalidSpec", "this model has none",
    ),
    "unknown engine": ("smollm2-135m", "local", {"engine": {"name": "vlm"}}, "UnknownEngine", "mean vllm"),
    "context beyond the model's": (
        "llama-7b", "server-64", {"engine": {"contextLength": 8192}}, "InvalidSpec", "limit of 4096",
    ),
    "method and level contradict": (
        "llama-7b", "server-64", {"optimize": {"method": "none", "level": "Q8_0"}}, "InvalidSpec", "drop one",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "names", "fields", "reason", "words"), REFUSED.values(), ids=REFUSED)
def test_refusals_have_a_reason_and_say_what_is_missing(
    model: str, names: str, fields: Any, reason: str, words: str
) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        plan(model, names, **fields)
    assert caught.value.reason == reason
    assert words in caught.value.message


def test_already_quantised_weights_are_refused() -> None:
    facts = replace(MODELS["llama3-8b"], quantization="exl2")
    with pytest.raises(InvalidSpecError, match="exl2") as caught:
        decide(spec(), facts, nodes("server-64"), Settings())
    assert caught.value.reason == "UnsupportedQuantization"
    with pytest.raises(InvalidSpecError, match="can't be converted to GGUF"):
        decide(
            spec(optimize={"method": "gguf"}), replace(facts, quantization="gptq"), nodes("local"), Settings()
        )


def test_nearest_miss_names_the_node_and_the_missing_memory() -> None:
    with pytest.raises(NothingFitsError) as caught:
        plan("llama2-70b", "laptop-8 laptop-16")
    message = caught.value.message
    assert "Q2_K, 1 request of 4096 tokens" in message
    assert "laptop-16 with 8 cores and 15.1 GiB" in message
    assert "missing" in message
    assert "smaller model" in message


def test_auto_level_respects_six_tenths_of_a_gigabyte_a_billion() -> None:
    for facts in MODELS.values():
        for machine in NODES.values():
            try:
                found = decide(spec(), facts, [machine], Settings())
            except NothingFitsError:
                continue
            if found.level == "Q4_K_M":
                assert machine.memory >= 0.6 * facts.parameters


def test_threads_and_request_follow_the_smallest_fitting_node() -> None:
    found = plan("smollm2-135m", "local server-64")
    assert (found.threads, found.resources.cpu_millis) == (2, 250)
    assert plan("smollm2-135m", "server-64").threads == 16
    assert plan("llama2-70b", "server-64").resources.cpu_millis == 16_000
    assert plan("llama-7b", "laptop-16").resources.cpu_millis == 1685


def test_fixed_cpu_sets_request_and_threads() -> None:
    found = plan("smollm2-135m", "server-64", engine={"resources": {"cpu": "6500m"}})
    assert (found.resources.cpu_millis, found.threads) == (6500, 6)
    assert plan("smollm2-135m", "local", engine={"resources": {"cpu": "500m"}}).threads == 1


def test_container_memory_has_a_margin_and_is_whole_mebibytes() -> None:
    found = plan("llama3-8b", "server-64")
    assert found.resources.memory % 1024**2 == 0
    assert found.resources.memory == pytest.approx(1.1 * found.memory.total, rel=0.001)
    fixed = plan("llama3-8b", "server-64", engine={"resources": {"memory": "20Gi"}})
    assert fixed.resources.memory == 20 * 1024**3


def test_two_replicas_and_a_surge_of_the_demo_fit_the_small_node() -> None:
    found = plan("smollm2-135m", "local")
    assert 3 * found.resources.memory < NODES["local"].memory / 2
    assert 3 * found.resources.cpu_millis < 1000


MANY = {"store": {"accessMode": "ReadWriteMany"}}


def test_a_node_without_room_for_one_more_is_told_by_the_plan() -> None:
    tight = plan("llama-7b", "laptop-8")
    assert tight.holds == 1
    assert not tight.surges(1)
    assert "room for 1 replica at once, so an update stops one" in tight.reason
    assert "room for 1 replica at once (asked for: 3)," in plan("llama-7b", "laptop-8", replicas=3).reason
    roomy = plan("smollm2-135m", "local")
    assert roomy.holds is not None
    assert roomy.holds > 2
    assert roomy.surges(2)
    assert "update" not in roomy.reason
    assert "update" in plan("smollm2-135m", "local", replicas=roomy.holds).reason
    assert "update" not in plan("smollm2-135m", "local", autoscaling={"maxReplicas": 99}).reason


def test_cores_bound_what_a_node_holds() -> None:
    assert plan("smollm2-135m", "server-64", engine={"resources": {"cpu": "40"}}).holds == 1
    assert plan("smollm2-135m", "server-64", engine={"resources": {"cpu": "30"}}).holds == 2


def test_a_volume_for_one_node_counts_the_smallest_and_one_for_many_counts_all() -> None:
    two = [node("small", 8, "30Gi"), node("large", 16, "60Gi")]
    once = decide(spec(), MODELS["llama2-13b"], two, Settings())
    many = decide(spec(**MANY), MODELS["llama2-13b"], two, Settings())
    assert (once.holds, many.holds) == (1, 3)
    assert many.surges(2)
    assert not many.surges(3)


def test_selector_keeps_pods_off_nodes_that_are_too_small() -> None:
    assert plan("smollm2-135m", "pi local").node_selector == ()
    assert plan("llama2-13b", "pi laptop-16").node_selector == (("kubernetes.io/arch", "amd64"),)
    twins = [node("a", 8, "60Gi"), node("b", 8, "60Gi"), node("small", 8, "3Gi")]
    pool = [replace(one, labels=(*one.labels, ("pool", "big"))) for one in twins[:2]]
    facts = MODELS["llama2-13b"]
    assert decide(spec(), facts, [*pool, twins[2]], Settings()).node_selector == (("pool", "big"),)
    assert decide(spec(), facts, twins, Settings()).node_selector == (("kubernetes.io/hostname", "b"),)


def test_a_label_of_some_is_better_than_the_name_of_one() -> None:
    kind = "node.kubernetes.io/instance-type"
    labels = [{kind: "c8"}, {kind: "c8", "a-serial": "4711", "a-name": "b"}, {kind: "c9"}, {kind: "c1"}]
    names = ("a", "b", "c", "small")
    mixed = [
        node(name, 8, "3Gi" if name == "small" else "60Gi", labels=given)
        for name, given in zip(names, labels, strict=True)
    ]
    facts = MODELS["llama2-13b"]
    assert decide(spec(), facts, mixed, Settings()).node_selector == ((kind, "c8"),)
    found = decide(spec(**MANY), facts, mixed, Settings())
    assert (found.node_selector, found.holds) == (((kind, "c8"),), 4)
    alone = decide(spec(), facts, [mixed[1], mixed[3]], Settings())
    assert alone.node_selector == ((kind, "c8"),)


def test_what_was_not_taken_is_said() -> None:
    found = plan("llama-7b", "laptop-8 gpu down tainted", engine={"podOverrides": {"nodeSelector": {}}})
    options = {one.option: one.reason for one in found.rejected}
    assert "default goal" in options["Q8_0"]
    assert "vendor is not known" in options["accelerator acme.com/gpu"]
    assert options["node down"] == "not ready, or cordoned"
    tight = plan("llama-7b", "laptop-8")
    first = tight.rejected[0]
    assert first.option == "Q4_K_M, 4 requests of 4096 tokens"
    assert "laptop-8" in first.reason


def test_status_is_bounded_and_has_every_field() -> None:
    many = [node(f"n{index:04}", 4, "1Gi", taints=(f"t{index}=:NoSchedule",)) for index in range(50)]
    found = decide(spec(), MODELS["smollm2-135m"], [*many, NODES["local"]], Settings())
    status = plan_status(found)
    assert len(status.rejected) <= STATUS_REJECTED
    assert status.memory.total == found.memory.total
    assert status.resources == {"cpu": "250m", "memory": "748Mi", "sharedMemory": "64Mi"}
    assert status.node_selector is None


def test_models_that_do_not_say_their_context_have_none() -> None:
    facts = replace(MODELS["llama-7b"], context_length=0)
    assert decide(spec(), facts, nodes("server-64"), Settings()).context_length == 4096
    longer = spec(engine={"contextLength": 9000})
    assert decide(longer, facts, nodes("server-64"), Settings()).context_length == 9000
