"""Names of methods, and the weights that packed tensors stand for."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from slipway_runtime.quantised import method, real_weights
from slipway_runtime.weights import Header, parse_header


def groups(kind: str, bits: int, *, activations: bool = True, form: str = "", **more: Any) -> dict[str, Any]:
    """A quantization_config of compressed-tensors with one group."""
    weights = {"num_bits": bits, "type": kind, "strategy": "channel", "symmetric": True, **more}
    inputs = {"num_bits": bits, "type": kind} if activations else None
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group}}


MIXED = groups("float", 8)
MIXED["config_groups"]["group_1"] = groups("int", 4)["config_groups"]["group_0"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (None, ""),
        (["x"], ""),
        ({}, ""),
        ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq"),
        ({"quant_method": "GPTQ", "bits": 4, "desc_act": False}, "gptq"),
        ({"quant_method": "gptq_marlin"}, "gptq"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False}, "bnb"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bnb-int8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        (groups("float", 8), "fp8"),
        (groups("int", 8), "int8"),
        (groups("int", 8, activations=False), "compressed-tensors"),
        (groups("int", 4, activations=False, form="pack-quantized"), "compressed-tensors"),
        (groups("float", 4, form="nvfp4-pack-quantized", group_size=16), "nvfp4"),
        (groups("float", 4, form="mxfp4-pack-quantized", group_size=32), "compressed-tensors"),
        (MIXED, "compressed-tensors"),
        ({"quant_method": "compressed-tensors", "config_groups": None}, "compressed-tensors"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt_fp4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "modelopt"),
        ({"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq"}, "gptq"),
        ({"quant_method": "intel/auto-round", "packing_format": "auto_round:auto_awq"}, "awq"),
        ({"quant_method": "auto-round", "packing_format": "auto_round:fp8"}, "auto-round"),
        ({"group_size": 64, "bits": 4}, "mlx"),
        *(({"quant_method": name}, name) for name in ("exl2", "aqlm", "hqq", "quip", "quark", "torchao")),
    ],
)
def test_names_are_the_planners_or_their_own(settings: Any, name: str) -> None:
    assert method({"quantization_config": settings}) == name
    assert method({"text_config": {"quantization_config": settings}}) == name


def test_what_modelopt_says_beside() -> None:
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}}
    assert method({}, beside) == "nvfp4"
    assert method({}, {"quantization": None}) == ""


def test_the_planner_knows_the_names() -> None:
    from slipway.plan.methods import METHODS

    assert {"awq", "gptq", "fp8", "int8", "bnb", "mxfp4", "nvfp4", "compressed-tensors"} <= set(METHODS)


def header(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> Header:
    listed = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [0, math.prod(shape)]}
        for name, (dtype, shape) in tensors.items()
    }
    return parse_header("model.safetensors", json.dumps(listed).encode())


EMBEDDING = {"model.embed_tokens.weight": ("F16", (1000, 512))}
PLAIN = 1000 * 512
LINEAR = "model.layers.0.mlp.down_proj"
WEIGHTS = 512 * 1024
FILES: dict[str, tuple[dict[str, Any], dict[str, tuple[str, tuple[int, ...]]]]] = {
    "awq": (
        {"quant_method": "awq", "bits": 4},
        {
            f"{LINEAR}.qweight": ("I32", (1024, 512 // 8)),
            f"{LINEAR}.qzeros": ("I32", (1024 // 128, 512 // 8)),
            f"{LINEAR}.scales": ("F16", (1024 // 128, 512)),
        },
    ),
    "gptq": (
        {"quant_method": "gptq", "bits": 4},
        {
            f"{LINEAR}.qweight": ("I32", (1024 // 8, 512)),
            f"{LINEAR}.qzeros": ("I32", (1024 // 128, 512 // 8)),
            f"{LINEAR}.scales": ("F16", (1024 // 128, 512)),
            f"{LINEAR}.g_idx": ("I32", (1024,)),
        },
    ),
    "gptq, 8 bits": (
        {"quant_method": "gptq", "bits": 8},
        {f"{LINEAR}.qweight": ("I32", (1024 // 4, 512))},
    ),
    "gptq, 3 bits": (
        {"quant_method": "gptq", "bits": 3},
        {f"{LINEAR}.qweight": ("I32", (1024 * 3 // 32, 512))},
    ),
    "fp8 in blocks": (
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {f"{LINEAR}.weight": ("F8_E4M3", (512, 1024)), f"{LINEAR}.weight_scale_inv": ("F32", (4, 8))},
    ),
    "compressed-tensors, W4A16": (
        groups("int", 4, activations=False),
        {
            f"{LINEAR}.weight_packed": ("I32", (512, 1024 // 8)),
            f"{LINEAR}.weight_scale": ("BF16", (512, 8)),
            f"{LINEAR}.weight_shape": ("I64", (2,)),
            f"{LINEAR}.weight_zero_point": ("I32", (64, 8)),
        },
    ),
    "compressed-tensors, W8A8": (
        groups("int", 8),
        {f"{LINEAR}.weight": ("I8", (512, 1024)), f"{LINEAR}.weight_scale": ("BF16", (512, 1))},
    ),
    "compressed-tensors, NVFP4": (
        groups("float", 4, form="nvfp4-pack-quantized"),
        {
            f"{LINEAR}.weight_packed": ("U8", (512, 1024 // 2)),
            f"{LINEAR}.weight_scale": ("F8_E4M3", (512, 64)),
            f"{LINEAR}.weight_global_scale": ("F32", (1,)),
            f"{LINEAR}.input_global_scale": ("F32", (1,)),
        },
    ),
    "modelopt, NVFP4": (
        {"quant_method": "modelopt", "quant_algo": "NVFP4"},
        {
            f"{LINEAR}.weight": ("U8", (512, 1024 // 2)),
            f"{LINEAR}.weight_scale": ("F8_E4M3", (512, 64)),
            f"{LINEAR}.weight_scale_2": ("F32", ()),
            f"{LINEAR}.input_scale": ("F32", ()),
        },
    ),
    "bitsandbytes": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {
            f"{LINEAR}.weight": ("U8", (WEIGHTS // 2, 1)),
            f"{LINEAR}.weight.absmax": ("U8", (WEIGHTS // 64,)),
            f"{LINEAR}.weight.nested_absmax": ("F32", (32,)),
            f"{LINEAR}.weight.quant_map": ("F32", (16,)),
            f"{LINEAR}.weight.nested_quant_map": ("F32", (256,)),
            f"{LINEAR}.weight.quant_state.bitsandbytes__nf4": ("U8", (70,)),
        },
    ),
    "mlx": (
        {"group_size": 64, "bits": 4},
        {
            f"{LINEAR}.weight": ("U32", (512, 1024 // 8)),
            f"{LINEAR}.scales": ("F16", (512, 16)),
            f"{LINEAR}.biases": ("F16", (512, 16)),
        },
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_packed_weights_are_counted_as_what_they_stand_for(name: str) -> None:
    settings, tensors = FILES[name]
    found = real_weights([header(EMBEDDING | tensors)], {"quantization_config": settings})
    assert found == (PLAIN + WEIGHTS, 0)


def test_mxfp4_of_gpt_oss_packs_two_numbers_into_a_byte() -> None:
    tensors = {
        "model.layers.0.mlp.experts.gate_up_proj_blocks": ("U8", (4, 64, 8, 16)),
        "model.layers.0.mlp.experts.gate_up_proj_scales": ("U8", (4, 64, 8)),
        "model.layers.0.mlp.experts.gate_up_proj_bias": ("BF16", (4, 64)),
        "model.layers.0.mlp.router.weight": ("BF16", (4, 256)),
    }
    found = real_weights([header(tensors)], {"quantization_config": {"quant_method": "mxfp4"}})
    experts = 4 * 64 * 256 + 4 * 64
    assert found == (experts + 4 * 256, experts)


def test_shared_experts_are_not_routed() -> None:
    tensors = {
        "model.layers.3.mlp.experts.0.up_proj.weight": ("F8_E4M3", (8, 16)),
        "model.layers.3.mlp.experts.0.up_proj.weight_scale_inv": ("F32", (1, 1)),
        "model.layers.3.mlp.shared_experts.up_proj.weight": ("F8_E4M3", (8, 16)),
        "model.embeddings.position_ids": ("I64", (1, 512)),
    }
    assert real_weights([header(tensors)], {"quantization_config": {"quant_method": "fp8"}}) == (256, 128)
