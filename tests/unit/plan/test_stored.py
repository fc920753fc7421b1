"""A model that comes as GGUF: which of its levels is served where, by whom, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.engines import ENGINES, decide
from slipway.engines.base import Launch
from slipway.errors import InvalidSpecError, NothingFitsError
from slipway.manifests.artifacts import build_artifact
from slipway.manifests.chains import artifact_chain
from slipway.manifests.jobs import StageInputs, build_stage_job, stages
from slipway.manifests.owner import Owner
from slipway.manifests.revision import Pinned, build_revision, read_pinned
from slipway.plan.candidate import GGUF_LOSS, gguf_loss
from slipway.plan.decision import Plan
from slipway.plan.facts import ModelFacts
from slipway.plan.memory import file_bytes, sizes
from slipway.plan.model_config import facts_from_wire
from slipway.plan.nodes import node_facts
from slipway.plan.preference import cpu_levels, standing
from slipway.plan.stored import stored
from slipway.plan.summary import plan_status
from slipway.settings import Settings
from slipway_runtime.gguf_files import Stored, encode
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import COMMIT, MODELS, node, spec

LLAMA = MODELS["llama3-8b"]
SERVER, LAPTOP = node("server", 32, "64Gi"), node("laptop", 8, "5900Mi")
SOURCE = "hf://acme/m-GGUF"


def comes(*levels: str, model: ModelFacts = LLAMA, parts: int = 1) -> ModelFacts:
    """The model's facts as if it came at these levels, each as large as it would be made."""
    known = [
        Stored(level, file_bytes(model, level) if level in GGUF_LOSS else 3_000_000_000, parts)
        for level in levels
    ]
    held = sorted(known, key=lambda one: one.bytes)
    return replace(model, quantization="gguf", levels=encode(held), weight_bytes=held[0].bytes)


def plan(facts: ModelFacts, *nodes: Any, **wish: Any) -> Plan:
    return decide(spec(model={"source": SOURCE}, **wish), facts, list(nodes or (SERVER,)), Settings())


@pytest.mark.parametrize(
    ("levels", "goal", "level"),
    [
        (("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0", "F16"), None, "Q4_K_M"),
        (("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0", "F16"), "quality", "Q8_0"),
        (("Q4_0", "Q4_1", "Q8_0"), None, "Q4_1"),
        (("IQ4_XS", "Q4_K_S", "Q8_0"), None, "IQ4_XS"),
        (("Q2_K", "Q5_K_M"), None, "Q5_K_M"),
        (("Q6_K", "Q8_0"), None, "Q6_K"),
        (("F16", "Q4_K_M"), "quality", "F16"),
        (("F16", "Q6_K", "Q4_K_M"), "quality", "F16"),
        (("F16",), None, "F16"),
        (("IQ2_XXS", "IQ1_S"), None, "IQ2_XXS"),
        (("UD-Q4_K_XL", "Q8_0"), None, "UD-Q4_K_XL"),
    ],
)
def test_the_goal_chooses_among_what_there_is(levels: tuple[str, ...], goal: str | None, level: str) -> None:
    found = plan(comes(*levels), **({"optimize": {"goal": goal}} if goal else {}))
    assert (found.level, found.form, found.source_files) == (level, "gguf", 1)
    assert found.method == ("none" if level == "F16" else "gguf")


def test_a_level_that_does_not_fit_gives_way_to_the_next_that_there_is() -> None:
    facts = comes("Q2_K", "Q3_K_M", "Q4_K_M", "Q8_0")
    assert plan(facts, LAPTOP).level == "Q3_K_M"
    assert plan(comes("Q2_K", "Q4_K_M", "Q8_0"), LAPTOP).level == "Q2_K"
    with pytest.raises(NothingFitsError, match="Q8_0"):
        plan(comes("Q8_0"), LAPTOP)


def test_on_a_device_the_same_rules_hold() -> None:
    device = node_facts(gpu_node("l4", "l4"))
    found = plan(comes("Q2_K", "Q4_K_M", "Q5_K_M", "Q8_0"), device)
    assert (found.engine, found.level) == ("llamacpp", "Q5_K_M")
    assert found.accelerator is not None
    assert plan(comes("Q4_0", "F16"), device).level == "F16", "the nearest that is better, and it fits"
    assert any(one.option == "vllm" and "can't load GGUF" in one.reason for one in found.rejected)


def test_the_level_that_the_spec_names_is_served_or_refused_with_those_that_there_are() -> None:
    facts = comes("Q2_K", "Q8_0", "UD-Q4_K_XL")
    assert plan(facts, optimize={"level": "Q2_K"}).level == "Q2_K"
    assert plan(facts, optimize={"level": "ud-q4_k_xl"}).level == "UD-Q4_K_XL"
    with pytest.raises(InvalidSpecError, match=r"none of level Q4_K_M; it has .*Q2_K \(.*Q8_0 \(") as caught:
        plan(facts, optimize={"level": "Q4_K_M"})
    assert caught.value.reason == "UnknownLevel"


@pytest.mark.parametrize("method", ["fp8", "none"])
def test_another_method_is_refused(method: str) -> None:
    with pytest.raises(InvalidSpecError, match="quantised already") as caught:
        plan(comes("Q4_K_M"), optimize={"method": method})
    assert caught.value.reason == "UnsupportedQuantization"
    assert plan(comes("Q4_K_M"), optimize={"method": "gguf"}).level == "Q4_K_M"


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_an_engine_that_loads_no_gguf_is_refused_by_name(engine: str) -> None:
    with pytest.raises(InvalidSpecError, match=f"{engine} can't load GGUF files"):
        plan(comes("Q4_K_M"), engine={"name": engine})


@pytest.mark.parametrize("engine", ["llamacpp", "llama-cpp-python", "ollama", "text-generation-webui"])
def test_every_engine_of_gguf_serves_it(engine: str) -> None:
    assert plan(comes("Q4_K_M"), engine={"name": engine}).engine == engine


@pytest.mark.parametrize(
    ("engine", "able"), [("llamacpp", True), ("llama-cpp-python", True), ("ollama", False)]
)
def test_a_model_in_parts_goes_to_engines_that_load_parts(engine: str, *, able: bool) -> None:
    facts = comes("Q4_K_M", parts=3)
    if not able:
        with pytest.raises(NothingFitsError, match="several GGUF files, which ollama can't load"):
            plan(facts, engine={"name": engine})
        return
    found = plan(facts, engine={"name": engine})
    launch = Launch(spec(), found, "m", "/models")
    assert "/models/model-00001-of-00003.gguf" in ENGINES[engine].args(launch)


def test_an_embedding_model_is_refused() -> None:
    facts = replace(comes("Q8_0"), modality="embedding", convertible=False, architecture="bert")
    with pytest.raises(NothingFitsError, match="bert"):
        plan(facts)


def test_the_artifact_is_the_source_at_its_level_alone() -> None:
    wish = spec(model={"source": SOURCE})
    facts = comes("Q4_K_M", "Q8_0")
    found = plan(facts)
    (alone,) = artifact_chain(wish, COMMIT, found)
    assert (alone.made.method, alone.level, alone.parent) == ("source", "Q4_K_M", None)
    assert alone.name.startswith("m-gguf-q4-k-m-")
    assert alone.made.expected_bytes == file_bytes(facts, "Q4_K_M") == sizes(facts, "Q4_K_M").source
    (other,) = artifact_chain(wish, COMMIT, plan(facts, optimize={"level": "Q8_0"}))
    assert other.name != alone.name
    artifact = build_artifact(alone, [], "team")
    assert artifact["spec"]["recipe"] == {"method": "source", "level": "Q4_K_M"}
    assert stages(artifact) == ("fetch",)
    owner = Owner("slipway.dev/v1alpha1", "ModelArtifact", alone.name, "u", "team")
    job = build_stage_job(owner, artifact, "fetch", 1, StageInputs(), Settings())
    env = {one["name"]: one.get("value") for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["SLIPWAY_LEVEL"] == "Q4_K_M"
    assert "SLIPWAY_METHOD" not in env


def test_a_revision_remembers_the_levels_and_older_ones_stay_what_they_were() -> None:
    facts = comes("Q4_K_M", "Q8_0", parts=2)
    owner = Owner("slipway.dev/v1alpha1", "ModelDeployment", "m", "u", "team")
    pinned = Pinned("h", SOURCE, COMMIT, facts, plan(facts), Settings().images, ("a",))
    raw = build_revision(owner, 1, pinned)
    assert read_pinned(raw) == pinned
    made = replace(pinned, facts=LLAMA, plan=plan(LLAMA))
    data = build_revision(owner, 1, made)["data"]
    assert "levels" not in data["facts"]
    assert "sourceFiles" not in data["plan"]


def test_facts_with_levels_of_another_form_are_not_understood() -> None:
    wire = {
        "architecture": "llama", "parameters": 1, "layers": 1, "hiddenSize": 1, "heads": 1, "kvHeads": 1,
        "headDim": 1, "vocabSize": 1, "contextLength": 1, "dtype": "float16", "weightBytes": 1,
        "downloadBytes": 1, "levels": "Q4_K_M:5",
    }  # fmt: skip
    assert facts_from_wire(wire).levels == "Q4_K_M:5"
    with pytest.raises(ValueError, match="no level with its size"):
        facts_from_wire(wire | {"levels": "Q4_K_M=5"})


def test_the_reason_says_where_the_level_comes_from() -> None:
    assert plan(comes("Q4_1")).reason.startswith("Q4_1 is the level that the source has: ")
    assert plan(comes("Q4_K_M", "Q8_0")).reason.startswith(
        "Q4_K_M is what the default goal prefers of the 2 "
    )
    lower = plan(comes("Q2_K", "Q4_K_M"), LAPTOP).reason
    assert lower.startswith("Q2_K is the best for the default goal that fits, of the 2 levels ")
    assert "as asked for" in plan(comes("Q4_0", "Q8_0"), optimize={"level": "Q8_0"}).reason


def test_levels_that_no_job_makes_are_between_those_that_jobs_make() -> None:
    order = [
        "Q8_0",
        "Q6_K_L",
        "Q6_K",
        "Q5_K_M",
        "UD-Q4_K_XL",
        "Q4_K_M",
        "IQ4_XS",
        "Q3_K_M",
        "Q2_K",
        "IQ2_M",
        "WHAT",
    ]
    losses = [gguf_loss(level) for level in order]
    assert losses == sorted(losses)


held = st.lists(st.sampled_from(sorted(GGUF_LOSS)), min_size=1, max_size=8, unique=True)


@settings(max_examples=100, deadline=None)
@given(held, st.sampled_from(["throughput", "quality", "latency", "cost"]), st.integers(3, 400))
def test_what_is_planned_is_there_and_fits_and_more_memory_is_no_loss(
    levels: list[str], goal: str, gib: int
) -> None:
    facts = comes(*levels)
    order = standing(stored(facts.levels), cpu_levels(goal))
    places: list[int] = []
    for memory in (gib, gib + 64):
        machine = node("one", 16, f"{memory}Gi")
        try:
            found = plan(facts, machine, optimize={"goal": goal})
        except NothingFitsError:
            places.append(len(order))
            continue
        assert found.level in levels
        assert found.memory.weights == file_bytes(facts, found.level)
        assert found.memory.total < memory * 1024**3
        assert plan_status(found).level == found.level
        places.append(order.index(found.level))
    assert places[1] <= places[0], "a level further down the goal's list"
