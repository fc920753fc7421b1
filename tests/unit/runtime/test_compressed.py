"""What is asked of llmcompressor, and what is refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.job import Job
from slipway_runtime.methods import _compressed, awq, fp8, gptq, int8, methods, mxfp4, nvfp4, run
from slipway_runtime.methods._groups import choose_group, input_sizes
from slipway_runtime.methods._recipes import Asked
from tests.unit.runtime.conftest import Bench

SMOLLM2 = {576: "q_proj", 1536: "down_proj"}
USUAL = {4096: "q_proj", 14336: "down_proj"}


@pytest.mark.parametrize(
    ("sizes", "named", "group"),
    [
        (USUAL, None, 128),
        (SMOLLM2, None, 64),
        ({96: "a", 32: "b"}, None, 32),
        (SMOLLM2, 32, 32),
        (USUAL, 256, 256),
    ],
)
def test_a_group_divides_every_layer(sizes: dict[int, str], named: int | None, group: int) -> None:
    assert choose_group(sizes, named) == group


@pytest.mark.parametrize(
    ("sizes", "named", "words"),
    [
        (SMOLLM2, 128, "groups of 128 weights don't divide 576 (q_proj reads 576 features): use 64 or 32"),
        ({40: "q_proj"}, None, "groups of 128 or 64 or 32 weights don't divide 40"),
        ({40: "q_proj"}, 16, "use int8 or fp8, which have none"),
    ],
)
def test_a_group_that_leaves_a_rest_is_refused(sizes: dict[int, str], named: int | None, words: str) -> None:
    with pytest.raises(StageError, match="divide") as caught:
        choose_group(sizes, named)
    assert (caught.value.reason, caught.value.code) == ("GroupSize", Exit.CONFIG)
    assert words in caught.value.message


def parent(bench: Bench, hidden: int = 64, **config: Any) -> Path:
    """A published source whose weights are too small for anything but their names and shapes."""
    folder = bench.parent / "published"
    folder.mkdir(parents=True, exist_ok=True)
    layer = "model.layers.0."
    shapes = {
        "model.embed_tokens": (8, 40), "lm_head": (8, 40), f"{layer}mlp.gate": (4, 40),
        f"{layer}self_attn.q_proj": (8, hidden), f"{layer}mlp.experts.0.down_proj": (hidden, 128),
        f"{layer}mlp.shared_expert_gate": (1, 40), "model.vision_tower.blocks.0.fc": (8, 40),
    }  # fmt: skip
    tensors = {f"{name}.weight": np.zeros(shape, np.float16) for name, shape in shapes.items()}
    save_file(
        {**tensors, f"{layer}input_layernorm.weight": np.ones(40, np.float16)}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}))
    return folder


def test_what_stays_at_sixteen_bits_does_not_choose_the_group(bench: Bench) -> None:
    assert set(input_sizes(parent(bench))) == {64, 128}


def job(bench: Bench, method: str, level: str, **options: str) -> Job:
    given = {"SLIPWAY_METHOD": method, "SLIPWAY_LEVEL": level, "SLIPWAY_OPTIONS": json.dumps(options)}
    return bench.job("quantize", **given)


@pytest.mark.parametrize(
    ("method", "level", "options", "reason"),
    [
        ("awq", "W4A16", {"groupSize": "128"}, "GroupSize"),
        ("gptq", "W8A16", {"groupSize": "48"}, "GroupSize"),
        ("gptq", "W4A16", {"groupSize": "none"}, "UnknownOption"),
        ("awq", "W4A16", {"actOrder": "true"}, "UnknownOption"),
        ("awq", "W4A16", {"symmetric": "yes"}, "UnknownOption"),
        ("int8", "W8A16", {"samples": "4"}, "UnknownOption"),
        ("fp8", "FP8", {"kvCache": "fp8"}, "UnknownOption"),
        ("fp8", "FP8_STATIC", {"kvCache": "int8"}, "UnknownOption"),
        ("mxfp4", "MXFP4", {"groupSize": "64"}, "UnknownOption"),
        ("nvfp4", "W4A16", {}, "UnknownLevel"),
    ],
)
def test_nothing_is_loaded_for_what_can_not_be(
    bench: Bench, method: str, level: str, options: dict[str, str], reason: str
) -> None:
    parent(bench)
    with pytest.raises(StageError) as caught:
        run(job(bench, method, level, **options))
    assert caught.value.reason == reason


@pytest.mark.parametrize(("method", "level", "hidden"), [("nvfp4", "NVFP4A16", 40), ("mxfp4", "MXFP4", 48)])
def test_groups_of_a_format_must_divide(bench: Bench, method: str, level: str, hidden: int) -> None:
    parent(bench, hidden)
    with pytest.raises(StageError, match=f"don't divide {hidden}") as caught:
        run(job(bench, method, level))
    assert caught.value.reason == "GroupSize"


def asked(level: str, group: int = 0, **options: str) -> Asked:
    return Asked(level, options, group)


def test_awq_scales_first_and_has_zero_points_unless_told_otherwise() -> None:
    made = awq.recipe(asked("W4A16", 64))
    assert [name for name, _ in made.modifiers] == ["AWQModifier", "QuantizationModifier"]
    weights = made.modifiers[1][1]["config_groups"]["group_0"]["weights"]
    assert (weights["num_bits"], weights["group_size"], weights["symmetric"]) == (4, 64, False)
    assert "lm_head" in made.modifiers[1][1]["ignore"]
    told = awq.recipe(asked("W4A16", 64, symmetric="true")).modifiers[1][1]["config_groups"]["group_0"]
    assert told["weights"]["symmetric"] is True


@pytest.mark.parametrize(
    ("given", "order"), [({}, "static"), ({"actOrder": "true"}, "static"), ({"actOrder": "false"}, None)]
)
def test_gptq_has_an_order(given: dict[str, str], order: str | None) -> None:
    ((name, arguments),) = gptq.recipe(asked("W8A16", 128, **given)).modifiers
    weights = arguments["config_groups"]["group_0"]["weights"]
    assert (name, arguments["actorder"], weights["num_bits"], weights["symmetric"]) == (
        "GPTQModifier",
        order,
        8,
        True,
    )


@pytest.mark.parametrize(
    ("module", "level", "scheme", "calibrates"),
    [
        (int8, "W8A8", "W8A8", True),
        (fp8, "FP8", "FP8_DYNAMIC", False),
        (fp8, "FP8_STATIC", "FP8", True),
        (nvfp4, "NVFP4", "NVFP4", True),
        (nvfp4, "NVFP4A16", "NVFP4A16", False),
        (mxfp4, "MXFP4A16", "MXFP4A16", False),
    ],
)
def test_schemes_of_compressed_tensors(module: Any, level: str, scheme: str, *, calibrates: bool) -> None:
    made = module.recipe(asked(level))
    assert (made.modifiers[-1][1]["scheme"], made.calibrates) == (scheme, calibrates)
    assert made.modifiers[-1][1].get("kv_cache_scheme") is None


def test_activations_of_eight_bits_are_smoothed_and_weights_alone_are_not() -> None:
    assert [name for name, _ in int8.recipe(asked("W8A8")).modifiers] == [
        "SmoothQuantModifier",
        "QuantizationModifier",
    ]
    alone = int8.recipe(asked("W8A16"))
    assert alone.modifiers[0][1]["config_groups"]["group_0"] == {
        "targets": ["Linear"],
        "weights": {"num_bits": 8, "type": "int", "symmetric": True, "dynamic": False, "strategy": "channel"},
    }
    assert not alone.calibrates


def test_scales_of_the_cache_are_calibrated() -> None:
    arguments = fp8.recipe(asked("FP8_STATIC", kvCache="fp8")).modifiers[0][1]
    assert arguments["kv_cache_scheme"] == {
        "num_bits": 8, "type": "float", "symmetric": True, "dynamic": False, "strategy": "tensor"
    }  # fmt: skip


def test_every_method_says_what_it_is() -> None:
    for name in ("awq", "gptq", "int8", "fp8", "nvfp4", "mxfp4"):
        method = methods()[name]
        assert (method.STAGE, method.FORM, method.IMAGE) == ("quantize", "safetensors", "optimizer")


def test_what_tools_say_becomes_a_reason(bench: Bench) -> None:
    words = {
        "I/O error: No space left on device (os error 28)": "StoreFull",
        "Please pass the argument `trust_remote_code=True`": "RemoteCode",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes": "OutOfMemory",
        "no mapping": "QuantizationFailed",
    }
    this = bench.job("quantize")
    found = {said: _compressed._refused(this, ValueError(said)) for said in words}
    assert {said: getattr(error, "reason", "") for said, error in found.items()} == words


def test_what_lies_beside_weights_is_copied_as_it_is(bench: Bench, tmp_path: Path) -> None:
    folder = parent(bench)
    for name in ("tokenizer.json", "chat_template.jinja", "model.safetensors.index.json", "manifest.json"):
        (folder / name).write_text(name)
    target = tmp_path / "target"
    target.mkdir()
    (target / "model.safetensors").write_text("ours")
    (target / "model.safetensors").chmod(0o600)
    _compressed._copy_beside(folder, target)
    assert sorted(path.name for path in target.iterdir()) == [
        "chat_template.jinja", "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
    assert (target / "model.safetensors").read_text() == "ours"
    assert (target / "model.safetensors").stat().st_mode & 0o044 == 0o044
