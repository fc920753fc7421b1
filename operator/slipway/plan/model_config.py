"""Model facts from a config.json or from an inspect Job's result; called by the pass and the CLI."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from slipway.api import reasons
from slipway.errors import InvalidSpecError
from slipway.plan import methods
from slipway.plan.facts import ModelFacts
from slipway.plan.methods import METHODS
from slipway_runtime.gguf_files import decode
from slipway_runtime.kv_cache import kv_elements
from slipway_runtime.modality import EMBEDDING, OTHER, modality, refusal
from slipway_runtime.model_figures import NAMES, language_part, nested, read_figures
from slipway_runtime.parameters import active_parameters, count_parameters, experts
from slipway_runtime.quantised import method

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes a weight of the stored types; anything else counts as 2."""
_FACTS: TypeAdapter[ModelFacts] = TypeAdapter(ModelFacts)


@dataclass(frozen=True)
class Beside:
    """What lies beside a config.json and tells more of the model.

    Attributes:
        files: paths in the folder, for those of sentence-transformers.
        quantization: the parsed hf_quant_config.json, where there is one.
        routed: weights in routed experts, as counted in the safetensors; 0 when unknown.
        vocabulary: hash of the tokens of its tokenizer.json; empty when there is none.
    """

    files: Collection[str] = ()
    quantization: Mapping[str, Any] | None = None
    routed: int = 0
    vocabulary: str = ""


NOTHING = Beside()


def model_facts(
    config: Mapping[str, Any], parameters: int | None, size: int | None = None, beside: Beside = NOTHING
) -> ModelFacts:
    """Facts from a model's config.json, for ``--model DIR`` (inspect Jobs bring their own).

    Without the converter's list at hand, ``convertible`` holds for every model that writes text, multimodal
    ones too: of those the converter takes the language part. The inspect Job asks the converter itself.

    Args:
        config: the parsed config.json.
        parameters: number of weights when known; else computed from the dimensions (``count_parameters``).
        size: bytes of the weight files when known; else as their dtype or their method stores them.
        beside: what else the folder tells.

    Raises:
        InvalidSpecError: ``UnsupportedArchitecture``: no architecture, no dimensions, or neither text nor
            embeddings come out.
    """
    text = language_part(config)
    kind = _served_modality(config, beside.files)
    figures = _whole_figures(config, text)
    dtype = str(text.get("dtype") or text.get("torch_dtype") or "bfloat16")
    count = parameters or count_parameters(text, figures).total
    weights = size or count * DTYPE_BYTES.get(dtype, 2)
    facts = ModelFacts(
        **figures,
        architecture=str(config["architectures"][0]),
        parameters=count,
        dtype=dtype,
        weight_bytes=weights,
        download_bytes=weights,
        license="",
        vocabulary=beside.vocabulary,
        levels="",
        quantization=method(config, beside.quantization),
        active_parameters=active_parameters(text, count, beside.routed, figures),
        experts=experts(text),
        modality=kind,
        convertible=kind != EMBEDDING,
        kv_elements=kv_elements(text, figures["layers"], figures["kv_heads"], figures["head_dim"]),
        remote_code=bool(config.get("auto_map")),
    )
    return facts if size else _quantised_size(facts)


def _whole_figures(config: Mapping[str, Any], text: Mapping[str, Any]) -> dict[str, int]:
    figures = read_figures(text)
    _refuse_incomplete(config, figures)
    figures["kv_heads"] = figures["kv_heads"] or figures["heads"]
    figures["head_dim"] = figures["head_dim"] or figures["hidden_size"] // figures["heads"]
    return figures


def _quantised_size(facts: ModelFacts) -> ModelFacts:
    """The facts with the bytes that a method of ours would leave, when the weights come quantised by it."""
    if facts.quantization not in METHODS:
        return facts
    weights = methods.weight_bytes(replace(facts, quantization=""), facts.quantization)
    return replace(facts, weight_bytes=weights, download_bytes=weights)


def _served_modality(config: Mapping[str, Any], files: Collection[str]) -> str:
    names = config.get("architectures")
    architecture = str(names[0]) if isinstance(names, list) and names else ""
    kind = modality(config, architecture, files)
    if kind == OTHER:
        raise InvalidSpecError(reasons.UNSUPPORTED_ARCHITECTURE, refusal(architecture or "the model"))
    return kind


def _refuse_incomplete(config: Mapping[str, Any], figures: Mapping[str, int]) -> None:
    inside = f"{nested(config)}." if nested(config) else ""
    # A file that leaves its heads to the model's class leaves the rest of its attention to it too.
    attention = ("heads",) if figures["heads"] else ("heads", "kv_heads", "head_dim")
    needed = ("layers", "hidden_size", *attention, "vocab_size")
    missing = [inside + NAMES[name][0] for name in needed if not figures[name]]
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        missing.append("architectures")
    if missing:
        hint = (
            f"the model's class fills in what the file leaves out: write the figures of its model card "
            f"into {inside.removesuffix('.')}"
            if inside and missing != ["architectures"]
            else "is this a language model? Name a folder with its whole config.json"
        )
        raise InvalidSpecError(
            reasons.UNSUPPORTED_ARCHITECTURE, f"config.json lacks {', '.join(missing)}: {hint}."
        )


def facts_from_wire(raw: Mapping[str, Any]) -> ModelFacts:
    """Facts from the inspect Job's camelCase result, or from a ControllerRevision. Unknown keys are ignored.

    Raises:
        ValueError: a key is missing or of another type.
    """
    known = {to_camel(one.name): one.name for one in fields(ModelFacts)}
    given = {known[key]: value for key, value in raw.items() if key in known}
    try:
        # Strict on JSON: in Python mode strictness would demand an instance, not a dict.
        facts = _FACTS.validate_json(json.dumps(given), strict=True)
        decode(facts.levels)
    except ValidationError as error:
        raise ValueError(f"the model's facts are incomplete: {error}") from error
    return facts
