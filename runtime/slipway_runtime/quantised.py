"""Models that come quantised: the method's name, and how many weights their packed tensors stand for. Pure.

Called by weights (what a tensor is), by the facts of the inspect Job and by the operator's command line. The
names are those of the operator's ``plan.methods``; a method that it has no name for keeps its own, and is
refused there. Sources: vLLM 0.32.0 (model_executor/layers/quantization), compressed-tensors, ModelOpt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from slipway_runtime.model_figures import language_part

if TYPE_CHECKING:
    from slipway_runtime.weights import Header

MODELOPT = "hf_quant_config.json"
"""Where ModelOpt says its method; newer files repeat it in config.json."""
SAME: Mapping[str, str] = {
    "awq_marlin": "awq",
    "gptq_marlin": "gptq",
    "fbgemm_fp8": "fp8",
    "modelopt_fp4": "nvfp4",
    "gpt_oss_mxfp4": "mxfp4",
}
"""Other names of a method that the planner knows."""
AUTO_ROUND = frozenset(("auto-round", "auto_round", "intel/auto-round", "inc"))
BESIDE = re.compile(
    r"(.*[._])?(scales?|scale_inv|scale_\d|scale_ub|q?zeros|zero_point|biases|absmax|quant_map|g_idx|SCB"
    r"|amax|weight_format|weight_shape|quant_state\..*|position_ids)"
)
"""Last part of the names of tensors that say how to read others."""
PACKED = re.compile(r".*(weight|weight_packed|blocks|proj|W_q)")
INTEGERS = frozenset(("I32", "U32", "I64", "U64"))
"""Types whose elements hold several weights, or are none."""
STORED_BITS: Mapping[str, int] = {"I32": 32, "U32": 32, "I64": 64, "U64": 64, "U8": 8}
METHOD_BITS: Mapping[str, int] = {
    "fp8": 8, "int8": 8, "bnb-int8": 8, "mxfp4": 4, "nvfp4": 4, "bnb": 4, "awq": 4, "gptq": 4,
}  # fmt: skip
USUAL_BITS = 4


def method(config: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> str:
    """Return the method that the weights come quantised with, empty for none.

    Args:
        config: the parsed config.json.
        beside: the parsed hf_quant_config.json, where there is one.
    """
    settings = _settings(config, beside)
    name = str(settings.get("quant_method") or "").lower().strip()
    if name == "compressed-tensors":
        return _compressed_tensors(settings)
    if name.startswith("modelopt") or "quant_algo" in settings:
        algorithm = str(settings.get("quant_algo") or "").upper()
        if algorithm.endswith("NVFP4"):
            return "nvfp4"
        return "fp8" if algorithm.startswith("FP8") else SAME.get(name, "modelopt")
    if name == "bitsandbytes":
        return "bnb-int8" if settings.get("load_in_8bit") is True else "bnb"
    if name in AUTO_ROUND:
        packing = str(settings.get("packing_format") or "")
        return next((one for one in ("gptq", "awq") if f"auto_{one}" in packing), "auto-round")
    return SAME.get(name, name) or ("mlx" if "bits" in settings else "")


def real_weights(
    headers: Iterable[Header], config: Mapping[str, Any], beside: Mapping[str, Any] | None = None
) -> tuple[int, int]:
    """Return how many weights the files stand for, and how many of them are in routed experts.

    Packed elements count as often as they hold a weight; scales, zero points and orders count nothing.
    """
    bits = _bits(config, beside)
    total = routed = 0.0
    for header in headers:
        total += sum(header.parameters.values()) - sum(header.beside.values())
        total += sum(count * (_held(dtype, bits) - 1) for dtype, count in header.packed.items())
        routed += header.routed + sum(
            count * _held(dtype, bits) for dtype, count in header.routed_packed.items()
        )
    return round(total), round(routed)


def is_beside(name: str, dtype: str) -> bool:
    """Whether a tensor says how to read others: a scale, a zero point, an order; such are no weights."""
    if dtype == "F8_E8M0" or BESIDE.fullmatch(name):
        return True
    return dtype in INTEGERS and not PACKED.fullmatch(name)


def is_packed(dtype: str) -> bool:
    """Whether elements of this type hold several weights each, when they hold weights."""
    return dtype in STORED_BITS


def _held(dtype: str, bits: float) -> float:
    stored = STORED_BITS.get(dtype, 8)
    return stored / bits if bits <= stored else 1.0


def _bits(config: Mapping[str, Any], beside: Mapping[str, Any] | None) -> float:
    settings = _settings(config, beside)
    groups = [weights for weights, _ in _groups(settings)]
    said = [settings.get("bits"), settings.get("w_bit"), settings.get("weight_bits")]
    said += [group.get("num_bits") for group in groups]
    numbers = (float(one) for one in said if isinstance(one, int | float) and not isinstance(one, bool))
    usual = METHOD_BITS.get(method(config, beside), USUAL_BITS)
    return next((one for one in numbers if one > 0), float(usual))


def _settings(config: Mapping[str, Any], beside: Mapping[str, Any] | None) -> Mapping[str, Any]:
    text = language_part(config)
    places = (
        config.get("quantization_config"),
        text.get("quantization_config"),
        text.get("compression_config"),
    )
    found = next((place for place in places if isinstance(place, dict) and place), {})
    other = (beside or {}).get("quantization")
    return {**other, **found} if isinstance(other, dict) else found


def _groups(settings: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], bool]]:
    """What compressed-tensors does to weights, for each group, and whether it quantises activations too."""
    groups = settings.get("config_groups")
    listed = groups.values() if isinstance(groups, dict) else ()
    return [
        (group["weights"], bool(group.get("input_activations")))
        for group in listed
        if isinstance(group, dict) and isinstance(group.get("weights"), dict)
    ]


def _compressed_tensors(settings: Mapping[str, Any]) -> str:
    """A group of another kind makes it a mixture, for which the planner has the format's own name.

    Weights of 8-bit integers beside 16-bit activations (W8A16) need no integer units: they are packed and
    read as W4A16 is. Numbers of 4 bits in groups of 32 are MXFP4 in this format's own layout.
    """
    kinds = set()
    for weights, activations in _groups(settings):
        kind = (weights.get("type"), weights.get("num_bits"))
        if kind == ("float", 8):
            kinds.add("fp8")
        elif kind == ("int", 8) and activations:
            kinds.add("int8")
        elif kind == ("float", 4) and "mxfp4" not in str(settings.get("format")):
            kinds.add("nvfp4")
        else:
            kinds.add("compressed-tensors")
    return kinds.pop() if len(kinds) == 1 else "compressed-tensors"
