"""The facts of a model that comes as GGUF, from its files' metadata and tensors. For inspection and the CLI.

The keys are those of ``facts.build_facts``. What a token leaves in the KV cache is counted as llama.cpp does
(``llama-kv-cache.cpp``, ``llama-hparams.cpp``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from slipway_runtime.errors import DataError
from slipway_runtime.gguf_file import Cursor
from slipway_runtime.gguf_files import GGUF, Group, encode, levels_of
from slipway_runtime.gguf_header import GgufHeader, read_header
from slipway_runtime.gguf_types import FILE_TYPES
from slipway_runtime.modality import EMBEDDING, TEXT, refusal
from slipway_runtime.sources import LICENSE_LIMIT, RemoteFile

PARALLEL: Final = 8
"""Requests at a time, for models in many parts."""
PREFERRED: Final = "Q4_K_M"
"""Level whose file is read, where it is there: all levels of a model say the same of it."""
ARCHITECTURE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
EMBEDS: Final = frozenset((
    "bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert",
    "eurobert", "gemma-embedding", "llama-embed",
))  # fmt: skip
"""llama.cpp's encoders; a decoder that embeds says how it pools."""
UNSERVED: Final = frozenset((
    "clip", "mmproj", "t5", "t5encoder", "wavtokenizer-dec", "dream", "llada", "llada-moe", "rnd1",
))  # fmt: skip
"""What sees or speaks, translators, and models that write all tokens at once: its server has no route."""
RANKS: Final = 4
"""``LLAMA_POOLING_TYPE_RANK``: a reranker."""
LARGEST: Final = 2**31 - 1
"""A figure of a model at most."""
USUAL_LEVELS: Final = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q3_K": "Q3_K_M"}
"""Tensor types that several levels use mostly, to the usual one of those."""
ReadOf = Callable[[RemoteFile, int, int], bytes]
"""``read(file, start, length)`` gives up to so many bytes."""


def gguf_facts(
    files: Iterable[RemoteFile], source: str, license_id: str, read: ReadOf
) -> tuple[dict[str, Any], int]:
    """Return the facts of the model that a repository holds as GGUF, and how many files its level has.

    One level is read: Q4_K_M, else the smallest. ``weightBytes`` are its own; ``levels`` lists every level
    with its size, as ``gguf_files.encode`` writes it.

    Args:
        files: of the repository.
        source: its URI.
        license_id: as the source says it; else as the file does.
        read: gives bytes of a file.

    Raises:
        DataError: BrokenWeights, TruncatedWeights, SeveralModels, BrokenConfig (a figure that the plan rests
            on is nowhere), UnsupportedArchitecture, NoWeights for an adapter.
    """
    groups = levels_of(files, source)
    group = next((one for one in groups if one.level == PREFERRED), groups[0])
    headers = read_headers(group, read)
    facts = header_facts(headers)
    level = group.level or level_of(headers)
    named = [replace(one.stored, level=one.level or level) for one in groups]
    size = group.stored.bytes
    own = str(headers[0].metadata.get("general.license", ""))
    facts |= {
        "weightBytes": size,
        "downloadBytes": size,
        "license": license_id or own[:LICENSE_LIMIT],
        "levels": encode(named),
    }
    return facts, len(group.files)


def read_headers(group: Group, read: ReadOf) -> list[GgufHeader]:
    """Return the header of every part, the first says how many there are."""

    def header(file: RemoteFile) -> GgufHeader:
        return read_header(Cursor(file.path, file.size, lambda start, length: read(file, start, length)))

    with ThreadPoolExecutor(PARALLEL) as pool:
        headers = list(pool.map(header, group.files))
    check_parts([file.path for file in group.files], headers)
    return headers


def check_parts(names: Sequence[str], headers: Sequence[GgufHeader]) -> None:
    """Refuse parts that are not what their names say; llama.cpp would as it loads them."""
    for number, (name, header) in enumerate(zip(names, headers, strict=True)):
        said = [header.metadata.get(key, usual) for key, usual in (("split.count", 1), ("split.no", 0))]
        if said != [len(names), number]:
            raise DataError(
                "BrokenWeights",
                f"{name} says that it is part {said[1]} (from 0) of {said[0]}, and is {number} of "
                f"{len(names)} by its name: the upload of this revision is wrong, choose another",
            )


def header_facts(headers: Sequence[GgufHeader]) -> dict[str, Any]:
    """Return what the headers of all parts tell, without sizes; raises as ``gguf_facts``."""
    first = headers[0]
    architecture = _architecture(first)
    kind = _modality(first, architecture)
    figures = _figures(first, architecture, headers)
    total, routed = sum(one.parameters for one in headers), sum(one.routed for one in headers)
    experts, chosen = (
        _figure(first, f"{architecture}.{name}") for name in ("expert_count", "expert_used_count")
    )
    active = total - routed * (experts - chosen) // experts if 0 < chosen < experts else 0
    return {
        "architecture": architecture,
        "parameters": total,
        **figures,
        "dtype": "float16",
        "quantization": GGUF,
        "activeParameters": active if 0 < active < total else 0,
        "experts": experts if experts > 1 else 0,
        "modality": kind,
        "convertible": kind == TEXT,
        "kvElements": _kv_elements(first, architecture, figures),
    }


def level_of(headers: Sequence[GgufHeader]) -> str:
    """Return the level by ``general.file_type``, else by the type that most weights have."""
    said = headers[0].metadata.get("general.file_type")
    if isinstance(said, int) and said in FILE_TYPES:
        return FILE_TYPES[said]
    counts: Counter[str] = Counter()
    for header in headers:
        counts.update(header.elements)
    usual = max(counts, key=lambda name: counts[name], default="F16")
    return USUAL_LEVELS.get(usual, usual)


def _architecture(header: GgufHeader) -> str:
    name, kind = (header.metadata.get(f"general.{key}") for key in ("architecture", "type"))
    if kind == "adapter":
        raise DataError(
            "NoWeights", "the GGUF file is an adapter, no model: name its model in spec.model.source"
        )
    if not isinstance(name, str) or not ARCHITECTURE.fullmatch(name):
        raise DataError("BrokenConfig", f"general.architecture of the GGUF file is {name!r}, no name of one")
    return name


def _modality(header: GgufHeader, architecture: str) -> str:
    """What sees or hears would be a file of its own (mmproj), which is left out: the rest writes text."""
    pools = header.metadata.get(f"{architecture}.pooling_type")
    if architecture in UNSERVED or pools == RANKS:
        raise DataError("UnsupportedArchitecture", refusal(architecture))
    return EMBEDDING if architecture in EMBEDS or pools else TEXT


def _figures(header: GgufHeader, architecture: str, headers: Sequence[GgufHeader]) -> dict[str, int]:
    def figure(name: str) -> int:
        return _figure(header, f"{architecture}.{name}")

    shape = header.embedding or (0, 0)
    hidden = figure("embedding_length") or shape[0]
    heads = figure("attention.head_count")
    found = {
        "layers": figure("block_count") or max(one.blocks for one in headers),
        "hiddenSize": hidden,
        "heads": heads,
        "kvHeads": figure("attention.head_count_kv") or heads,
        "headDim": figure("attention.key_length") or (hidden // heads if heads else 0),
        "vocabSize": header.lengths.get("tokenizer.ggml.tokens", 0)
        or figure("vocab_size")
        or (shape[1] if len(shape) > 1 else 0),
        "contextLength": figure("context_length"),
    }
    needed = ("layers", "hiddenSize", "vocabSize", *(("heads",) if _attends(headers) else ()))
    if lacking := [name for name in needed if not found[name]]:
        raise DataError(
            "BrokenConfig",
            f"the GGUF file doesn't say its {', '.join(lacking)} (metadata {architecture}.*): the memory "
            "that the model needs can't be computed. Make it anew with a llama.cpp of today",
        )
    return found


def _attends(headers: Iterable[GgufHeader]) -> bool:
    return any(header.attends for header in headers)


def _kv_elements(header: GgufHeader, architecture: str, figures: dict[str, int]) -> int:
    """Elements that a token leaves; 0 for the usual number, keys and values of every layer's KV heads."""

    def figure(name: str) -> int:
        return _figure(header, f"{architecture}.{name}")

    layers, keys = figures["layers"], figures["headDim"]
    if figure("attention.key_length_mla"):  # compressed keys alone are kept (is_mla)
        return layers * figure("attention.key_length")
    listed = header.metadata.get(f"{architecture}.attention.head_count_kv")
    heads = sum(listed) if isinstance(listed, tuple) else layers * figures["kvHeads"]
    if every := figure("full_attention_interval"):
        heads = heads // layers * (layers // every)
    found = heads * (keys + (figure("attention.value_length") or keys))
    return 0 if found == 2 * layers * figures["kvHeads"] * keys else found


def _figure(header: GgufHeader, key: str) -> int:
    """A figure, of a list of one for each layer the largest; 0 when it is absent."""
    value = header.metadata.get(key, 0)
    listed = value if isinstance(value, tuple) else (value,)
    numbers = [int(one) for one in listed if isinstance(one, int)]
    largest = max(numbers, default=0)
    if not 0 <= largest <= LARGEST:
        raise DataError("BrokenConfig", f"{key} of the GGUF file is {largest}, which no model has")
    return largest
