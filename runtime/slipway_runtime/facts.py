"""The facts of a model from config.json and the safetensors headers. Pure; called by inspection.

The keys are those of the operator's ``plan.facts.ModelFacts`` in camelCase.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway_runtime.errors import DataError
from slipway_runtime.kv_cache import kv_elements
from slipway_runtime.modality import EMBEDDING, OTHER, modality, refusal
from slipway_runtime.model_figures import NAMES, language_part, read_figures
from slipway_runtime.parameters import active_parameters, experts
from slipway_runtime.quantised import method, real_weights
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.weights import CONFIG, Header, is_weights

LAYER = re.compile(r"(?:.*\.)?(\d+)\..*\.(q_proj|k_proj|k_norm)\.weight")
NEEDED = ("layers", "hidden_size", "vocab_size")
"""Without these no plan can be made; nor without ``heads``, unless the model has no attention."""
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}


def build_facts(
    config: Mapping[str, Any],
    headers: Iterable[Header],
    listing: Listing,
    selected: Iterable[RemoteFile],
    beside: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the facts: figures of config.json, or else of the shapes; the context may be 0, unknown.

    ``parameters`` counts what the files stand for: tied embeddings once, packed integers as often as they
    hold a weight, scales never. ``convertible`` is what the modality allows; inspection asks the converter.

    Args:
        config: the parsed config.json.
        headers: of every safetensors file.
        listing: the whole repository.
        selected: the files that will be fetched.
        beside: the parsed hf_quant_config.json, where there is one.

    Raises:
        DataError: BrokenConfig, a figure that the plan rests on is nowhere; UnsupportedArchitecture.
    """
    known, files, text = list(headers), list(selected), language_part(config)
    kind = served_modality(config, listing)
    figures = complete(read_figures(text), known)
    total, routed = real_weights(known, config, beside)
    return {
        "architecture": architecture(config),
        "parameters": total,
        **{_camel(name): value for name, value in figures.items()},
        "dtype": usual_dtype(known),
        "weightBytes": sum(file.size for file in files if is_weights(file.path)),
        "downloadBytes": sum(file.size for file in files),
        "license": listing.license,
        "quantization": method(config, beside),
        "activeParameters": active_parameters(text, total, routed, figures),
        "experts": experts(text),
        "modality": kind,
        "convertible": kind != EMBEDDING,
        "kvElements": kv_elements(text, figures["layers"], figures["kv_heads"], figures["head_dim"]),
    }


def served_modality(config: Mapping[str, Any], listing: Listing) -> str:
    """Return the modality of a model that some engine may serve; DataError for another."""
    name = architecture(config)
    found = modality(config, name, [file.path for file in listing.files])
    if found == OTHER:
        raise DataError("UnsupportedArchitecture", refusal(name))
    return found


def usual_dtype(headers: Iterable[Header]) -> str:
    """Return the type of most weights; of a quantised model, of those that are not packed."""
    counts: Counter[str] = Counter()
    for header in headers:
        counts.update(header.parameters)
        counts.subtract(header.packed)
        counts.subtract(header.beside)
    usual = max(counts, key=lambda dtype: counts[dtype], default="")
    return DTYPES.get(usual, usual.lower())


def complete(figures: Mapping[str, int], headers: Sequence[Header]) -> dict[str, int]:
    """Return the figures with what config.json left to its class filled in from the tensors' shapes.

    Keys and values of one token have ``kv_heads`` x ``head_dim`` elements: the rows of ``k_proj``, whose
    largest layer counts. Where only that product is known, it is one head.
    """
    shown = shapes_say(headers)
    found = {key: figures[key] or shown.get(key, 0) for key in figures}
    rows = shown.get("key_rows", 0)
    if not found["head_dim"] and found["heads"]:
        found["head_dim"] = found["hidden_size"] // found["heads"]
    if not found["kv_heads"] and not figures["heads"] and rows:
        found["head_dim"] = found["head_dim"] or rows
        found["kv_heads"] = rows // found["head_dim"]
    if not found["heads"] and found["head_dim"]:
        found["heads"] = max(1, shown.get("query_rows", 0) // found["head_dim"])
    found["kv_heads"] = found["kv_heads"] or found["heads"]
    lacking = [NAMES[key][0] for key in NEEDED if not found[key]]
    if not found["heads"] and any(header.attends for header in headers):
        lacking.append(NAMES["heads"][0])
    if lacking:
        raise DataError(
            "BrokenConfig",
            f"{CONFIG} lacks {', '.join(lacking)}, and the weights' names don't show it: the memory that "
            "the model needs can't be computed. Name a repository with a whole config.json",
        )
    return found


def shapes_say(headers: Iterable[Header]) -> dict[str, int]:
    """Return what shapes tell, in the names of the facts, with ``query_rows`` and ``key_rows`` beside."""
    found: dict[str, int] = {}
    for name, shape in (item for header in headers for item in header.shapes.items()):
        if match := LAYER.fullmatch(name):
            found["layers"] = max(found.get("layers", 0), int(match[1]) + 1)
            key = {"q_proj": "query_rows", "k_proj": "key_rows", "k_norm": "head_dim"}[match[2]]
            found[key] = max(found.get(key, 0), shape[0])
        elif len(shape) == 2:  # noqa: PLR2004 - a matrix: vocabulary x hidden size
            found["vocab_size"], found["hidden_size"] = shape
    return found


def architecture(config: Mapping[str, Any]) -> str:
    """Return the first of ``architectures``; DataError when there is none."""
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise DataError(
            "BrokenConfig", "config.json names no architecture: is this a language model's repository?"
        )
    return names[0]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return "".join([first, *map(str.title, rest)])
