"""What Jobs make of weights in safetensors: when they are asked, for which engines, with which options."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from slipway.api import validate
from slipway.api.optimize import CALIBRATED, FOLDERS
from slipway.engines import ENGINES, decide
from slipway.errors import InvalidSpecError, NothingFitsError
from slipway.manifests.chains import artifact_chain
from slipway.manifests.jobs import stage_image, stages
from slipway.manifests.owner import Owner
from slipway.manifests.revision import Pinned, build_revision, read_pinned
from slipway.passes.results import record
from slipway.plan.decision import Plan
from slipway.plan.methods import METHODS, levels_of, weight_bytes
from slipway.plan.nodes import node_facts
from slipway.plan.spec_hash import planning_hash
from slipway.settings import Images, Settings
from slipway_runtime.job import Job, read_job
from slipway_runtime.methods import _compressed, methods
from slipway_runtime.methods._compressed import Kind
from slipway_runtime.progress import Progress
from tests.cluster import made
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import COMMIT, MODELS, spec

SEVEN = MODELS["llama-7b"]


def planned(nodes: str, optimize: dict[str, Any], **engine: Any) -> Plan:
    wish = spec(optimize=optimize, **({"engine": engine} if engine else {}))
    return decide(wish, SEVEN, [node_facts(gpu_node(nodes, nodes))], Settings())


@pytest.mark.parametrize(
    ("nodes", "optimize", "engine", "want"),
    [
        ("l4", {"method": "awq"}, {}, ("vllm", "awq", "W4A16", True)),
        ("l4", {"method": "gptq", "level": "W8A16"}, {}, ("vllm", "gptq", "W8A16", True)),
        ("l4", {"level": "W8A16"}, {}, ("vllm", "int8", "W8A16", True)),
        ("a100-80gb", {"method": "int8"}, {"name": "sglang"}, ("sglang", "int8", "W8A8", True)),
        ("h100", {"method": "fp8"}, {}, ("vllm", "fp8", "FP8", False)),
        ("h100", {"method": "fp8", "level": "FP8"}, {}, ("vllm", "fp8", "FP8", False)),
        ("h100", {"method": "fp8", "level": "FP8_STATIC"}, {}, ("vllm", "fp8", "FP8_STATIC", True)),
        ("h100", {"method": "fp8", "calibration": {}}, {}, ("vllm", "fp8", "FP8_STATIC", True)),
        ("b200", {"method": "nvfp4"}, {}, ("vllm", "nvfp4", "NVFP4", True)),
        ("h100", {"method": "mxfp4", "level": "MXFP4A16"}, {}, ("vllm", "mxfp4", "MXFP4A16", True)),
        ("h100", {"method": "bnb"}, {"name": "sglang"}, ("sglang", "bnb", "NF4", False)),
        ("t4", {"goal": "throughput"}, {}, ("vllm", "awq", "W4A16", True)),
        ("laptop-16gb", {"method": "awq"}, {}, ("vllm", "awq", "W4A16", True)),
        ("laptop-16gb", {"method": "int8"}, {"name": "vllm"}, ("vllm", "int8", "W8A8", True)),
        ("laptop-16gb", {}, {}, ("llamacpp", "gguf", "Q4_K_M", False)),
    ],
)
def test_a_job_or_none(
    nodes: str, optimize: dict[str, Any], engine: dict[str, Any], want: tuple[str, str, str, bool]
) -> None:
    plan = planned(nodes, optimize, **engine)
    assert (plan.engine, plan.method, plan.level, plan.made) == want
    assert not (plan.made and plan.at_load)


@pytest.mark.parametrize(
    ("nodes", "optimize", "engine", "words"),
    [
        ("l4", {"method": "awq"}, {"name": "lmdeploy"}, "which lmdeploy does not read here"),
        ("l4", {"method": "gptq"}, {"name": "tgi"}, "which tgi does not read here"),
        ("l4", {"method": "fp8", "level": "FP8_STATIC"}, {"name": "tgi"}, "which tgi does not read"),
        ("l4", {"method": "fp8"}, {"name": "lmdeploy"}, "Jobs write FP8 as compressed-tensors"),
        (
            "laptop-16gb",
            {"method": "gptq", "level": "W8A16"},
            {"name": "vllm"},
            "which vllm does not read here",
        ),
        ("h100", {"method": "nvfp4"}, {}, "needs compute capability 10.0"),
    ],
)
def test_an_engine_that_does_not_read_it_is_named(
    nodes: str, optimize: dict[str, Any], engine: dict[str, Any], words: str
) -> None:
    with pytest.raises((InvalidSpecError, NothingFitsError)) as caught:
        planned(nodes, optimize, **engine)
    assert words in caught.value.message


@pytest.mark.parametrize(("method", "level"), [(name, level) for name in FOLDERS for level in FOLDERS[name]])
def test_an_engine_of_ones_own_that_reads_it_gets_it_on_cpu(method: str, level: str) -> None:
    own = Settings(serving_engines=((made.READER, json.dumps(made.reader("acme/server:1")["spec"])),))
    wish = spec(optimize={"method": method, "level": level}, engine={"name": made.READER})
    plan = decide(wish, MODELS["smollm2-135m"], [node_facts(gpu_node("laptop-16gb", "node"))], own)
    assert (plan.method, plan.level, plan.made, plan.accelerator) == (method, level, True, None)


def test_a_model_that_is_not_for_text_is_not_made() -> None:
    seeing = replace(SEVEN, modality="multimodal", convertible=False)
    with pytest.raises(NothingFitsError, match="of models for text alone"):
        decide(spec(optimize={"method": "awq"}), seeing, [node_facts(gpu_node("h100", "h100"))], Settings())


OPTIONS = {
    "method": "gptq", "groupSize": 64, "symmetric": False, "actOrder": False,
    "calibration": {"samples": 16, "sequenceLength": 256},
}  # fmt: skip
SAID = {
    "actOrder": "false", "groupSize": "64", "samples": "16", "sequenceLength": "256", "symmetric": "false"
}  # fmt: skip


def test_the_recipe_says_what_the_spec_asks_for() -> None:
    plan = planned("l4", OPTIONS)
    assert dict(plan.options) == SAID
    source, level = artifact_chain(spec(optimize=OPTIONS), COMMIT, plan)
    assert (level.made.method, level.level, level.parent) == ("gptq", "W4A16", source.name)
    assert dict(level.made.options) == SAID
    other = planned("l4", {**OPTIONS, "groupSize": 32})
    assert artifact_chain(spec(optimize=OPTIONS), COMMIT, other)[1].name != level.name
    assert level.made.expected_bytes == weight_bytes(SEVEN, "gptq") + 3_000_000
    assert weight_bytes(SEVEN, "gptq") < weight_bytes(SEVEN, "gptq", "W8A16") < SEVEN.weight_bytes


@pytest.mark.parametrize("field", ["groupSize", "symmetric", "actOrder", "calibration"])
def test_another_option_is_another_plan(field: str) -> None:
    less = {name: value for name, value in OPTIONS.items() if name != field}
    assert planning_hash(spec(optimize=OPTIONS)) != planning_hash(spec(optimize=less))


def test_scales_of_an_fp8_cache_come_with_static_fp8_alone() -> None:
    static = {"method": "fp8", "level": "FP8_STATIC"}
    assert dict(planned("h100", static, kvCacheDtype="fp8").options) == {"kvCache": "fp8"}
    assert planned("h100", static).options == ()
    assert planned("h100", {"method": "fp8"}, kvCacheDtype="fp8").options == ()


def test_what_a_revision_pins_is_read_back_and_old_ones_stay_what_they_are() -> None:
    plan = planned("l4", OPTIONS)
    pinned = Pinned("0" * 10, "hf://acme/model", COMMIT, SEVEN, plan, Images(), ("source",))
    raw = build_revision(Owner("slipway.dev/v1alpha1", "ModelDeployment", "m", "u", "ns"), 1, pinned)
    assert read_pinned(raw).plan == plan
    at_load = planned("h100", {"method": "fp8"})
    same = Pinned("0" * 10, "hf://acme/model", COMMIT, SEVEN, at_load, Images(), ("source",))
    data = build_revision(Owner("slipway.dev/v1alpha1", "ModelDeployment", "m", "u", "ns"), 1, same)["data"]
    assert not {"made", "options"} & set(data["plan"])


def test_it_is_measured_before_it_is_published() -> None:
    artifact = {"spec": {"recipe": {"method": "int8", "level": "W8A8"}}}
    assert stages(artifact) == ("quantize", "evaluate", "publish")
    assert "optimizer" in stage_image("int8", "quantize", Settings())


def test_planner_and_jobs_know_the_same_levels() -> None:
    for name, levels in FOLDERS.items():
        assert levels_of(name) == levels
        assert levels == methods()[name].LEVELS
    made = {level for levels in FOLDERS.values() for level in levels}
    for engine in ENGINES.values():
        for accelerator, levels in engine.facts.reads.items():
            assert levels <= made
            loaded = {loads.method for loads in engine.facts.loads[accelerator]}
            assert levels <= {level for name in loaded & set(FOLDERS) for level in FOLDERS[name]}


@pytest.mark.parametrize(("name", "level"), [(name, level) for name in FOLDERS for level in FOLDERS[name]])
def test_jobs_take_every_option_that_the_api_has(
    name: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API's rules and the Job's list of options say the same of every level."""
    taken: list[Kind] = []

    def compress(_job: Job, kind: Kind) -> dict[str, Any]:
        taken.append(kind)
        return {}

    module = methods()[name]
    assert module.compress is _compressed.compress  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "compress", compress)
    module.quantize(read_job("quantize", {"SLIPWAY_LEVEL": level}, lambda stage: Progress(stage, StringIO())))  # type: ignore[attr-defined]
    fields = {
        "groupSize": {"groupSize": 64}, "symmetric": {"symmetric": True}, "actOrder": {"actOrder": True},
        "samples": {"calibration": {"samples": 1}}, "sequenceLength": {"calibration": {"sequenceLength": 16}},
    }  # fmt: skip
    for option, given in fields.items():
        wish = {"model": {"source": "hf://a/b"}, "optimize": {"method": name, "level": level, **given}}
        allowed = not validate.problems({"metadata": {"name": "m"}, "spec": wish})
        assert allowed == (option in taken[0].options), (option, taken[0].options)
    assert (level in CALIBRATED.get(name, ())) == ("samples" in taken[0].options)


def test_every_method_of_jobs_is_one_of_the_planner() -> None:
    assert set(Settings().methods) - set(METHODS) == set()


def test_what_a_method_chose_is_in_the_artifacts_status() -> None:
    artifact = {"metadata": {"name": "a"}, "spec": {"recipe": {"method": "awq", "level": "W4A16"}}}
    said = {"ok": True, "stage": "quantize", "sizeBytes": 1, "files": 1, "made": {"groupSize": "64"}}
    assert record(artifact, None, "quantize", said) == {"made": {"groupSize": "64"}}
    assert record(artifact, None, "quantize", {**said, "made": {}}) == {}
