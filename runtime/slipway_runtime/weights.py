"""Which files of a repository are the model, and whether its safetensors are whole."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from slipway_runtime.contract import MANIFEST
from slipway_runtime.errors import DataError, NotFoundError
from slipway_runtime.quantised import is_beside, is_packed

if TYPE_CHECKING:
    from slipway_runtime.sources import RemoteFile

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
WEIGHTS = re.compile(r"model[^/]*\.safetensors")
"""The names that llama.cpp's converter and transformers load; ``consolidated.safetensors`` is a second
copy."""
COMPANIONS = re.compile(
    r"[^/]+\.(json|jinja|txt|tiktoken)|tokenizer[^/]*\.model|(LICENSE|LICENCE|NOTICE)[^/]*"
    r"|\d+_[A-Za-z]+/(config\.json|model\.safetensors)"
)
"""At the repository's root: configuration, tokenizer, chat template, licence. Below it only what sentence-
transformers puts behind an embedding model (``1_Pooling``, ``2_Dense``). Never code, never pickle."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"
"""PEFT's layout of an adapter."""
PICKLE = re.compile(r".*\.(bin|pt|pth|ckpt|pkl)")
PREFIX_BYTES = 8
HEADER_LIMIT = 100_000_000
"""safetensors refuses longer headers, so that a broken length can't eat the memory."""
FIRST_READ = 100_001
"""Bytes of the first request: huggingface_hub found 97 % of all headers to be shorter."""
SHAPED = re.compile(
    r"(?!.*(vision|visual|image|audio))(.*\.)?"
    r"((embed_tokens|wte|word_embeddings|embed_in)|\d+\..*\.(q_proj|k_proj|k_norm)(\.lora_A)?)\.weight"
)
"""Tensors of the language model whose shapes tell a dimension that config.json may leave to its class; of a
LoRA adapter those that read the hidden state."""
ROUTED = re.compile(r"(.*\.)?experts\..*")
"""Tensors of routed experts; those of shared ones lie under ``shared_experts``."""


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself.

    Attributes:
        parameters: number of stored elements by dtype, ``{"BF16": 134515008}``.
        file_bytes: the length that the file must have: prefix, header and data.
        shapes: name to shape of the tensors that ``SHAPED`` names.
        attends: some tensor belongs to an attention layer.
        packed: elements among ``parameters`` that hold several weights each, by dtype.
        beside: elements among ``parameters`` that are scales, zero points and the like, by dtype.
        routed: elements of routed experts, each a weight.
        routed_packed: elements of routed experts that hold several weights each, by dtype.
    """

    parameters: dict[str, int]
    file_bytes: int
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    attends: bool = False
    packed: dict[str, int] = field(default_factory=dict)
    beside: dict[str, int] = field(default_factory=dict)
    routed: int = 0
    routed_packed: dict[str, int] = field(default_factory=dict)


def select_files(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return what the fetch stage downloads: safe names, the weights and their companions at the root.

    Raises:
        NotFoundError: NoConfig, there is no config.json.
        DataError: PickleOnly or NoWeights, or UnsafePath for a name that leads out of the folder.
    """
    known = safe_names(files)
    if is_adapter(known):
        raise DataError(
            "NoWeights",
            "the repository holds a LoRA adapter, no model: name the model that it was made for in "
            "spec.model.source, and this repository in spec.model.adapters",
        )
    if CONFIG not in known:
        raise NotFoundError(
            "NoConfig", "the repository has no config.json: it is no model in Hugging Face's layout"
        )
    weights = [file for path, file in known.items() if WEIGHTS.fullmatch(path)]
    if not weights:
        raise no_weights(known)
    return [*weights, *beside_weights(known)]


def beside_weights(known: dict[str, RemoteFile]) -> list[RemoteFile]:
    """Return what is downloaded beside weights, ``COMPANIONS``."""
    return [file for path, file in known.items() if COMPANIONS.fullmatch(path) and path != MANIFEST]


def is_adapter(paths: Collection[str]) -> bool:
    """Whether a repository holds an adapter and no model of its own."""
    return ADAPTER_CONFIG in paths and not any(map(is_weights, paths))


def safe_names(files: Iterable[RemoteFile]) -> dict[str, RemoteFile]:
    """Return the files by name; DataError UnsafePath for a name that leads out of the folder."""
    known = {file.path: file for file in files}
    for path in known:
        require_safe(path)
    return known


def no_weights(known: dict[str, RemoteFile]) -> DataError:
    """Return why there is nothing to load: pickles, GGUF alone, or nothing at all."""
    pickles = sorted(path for path in known if PICKLE.fullmatch(path))
    if pickles:
        return DataError(
            "PickleOnly",
            f"the weights are pickle files ({', '.join(pickles[:3])}), which can run code when "
            "they are loaded. Choose a revision or a repository with model*.safetensors, "
            "or convert it once in a sandbox",
        )
    hint = " It has GGUF files: choose the repository that they were made from" if _has_gguf(known) else ""
    return DataError("NoWeights", f"the repository has no model*.safetensors.{hint}")


def _has_gguf(known: dict[str, RemoteFile]) -> bool:
    return any(path.endswith(".gguf") for path in known)


def is_weights(path: str) -> bool:
    """Whether a selected file holds weights of a model."""
    return WEIGHTS.fullmatch(path) is not None


def require_safe(path: str) -> None:
    """Refuse names that are absolute or climb: a repository must not write outside its folder."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in path or ":" in pure.parts[0]:
        raise DataError(
            "UnsafePath", f"the repository has a file named {path!r}, which leads out of its folder"
        )


def check_index(index: dict[str, Any], selected: Iterable[RemoteFile]) -> None:
    """Refuse an index that names shards which the repository lacks."""
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict):
        raise DataError("BrokenWeights", f"{INDEX} has no weight_map")
    missing = {str(shard) for shard in weight_map.values()} - {file.path for file in selected}
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise DataError(
            "BrokenWeights", f"{INDEX} names {len(missing)} files that the repository lacks: {names}"
        )


def read_header(path: str, size: int, read: Callable[[int, int], bytes]) -> Header:
    """Return the header of a safetensors file of ``size`` bytes; ``read(start, length)`` gives its bytes.

    The format: eight bytes little-endian N, N bytes of JSON, then the tensors' data; offsets count from
    there.

    Raises:
        DataError: BrokenWeights when it can't be read, TruncatedWeights when the file is shorter than it
        says.
    """
    start = read(0, min(size, FIRST_READ))
    if len(start) < PREFIX_BYTES:
        raise DataError("TruncatedWeights", f"{path} has {size} bytes: too short for a safetensors file")
    length = int.from_bytes(start[:PREFIX_BYTES], "little")
    if length > HEADER_LIMIT:
        raise DataError(
            "BrokenWeights", f"{path} is no safetensors file: its header would have {length} bytes"
        )
    if PREFIX_BYTES + length > size:
        raise _truncated(path, PREFIX_BYTES + length, size)
    text = start[PREFIX_BYTES : PREFIX_BYTES + length]
    if len(text) < length:
        text += read(PREFIX_BYTES + len(text), length - len(text))
    header = parse_header(path, text)
    if header.file_bytes > size:
        raise _truncated(path, header.file_bytes, size)
    if header.file_bytes < size:
        raise DataError(
            "BrokenWeights", f"{path} has {size - header.file_bytes} bytes more than its header accounts for"
        )
    return header


def check_weights(path: Path) -> Header:
    """Return the header of a safetensors file; DataError when the file is shorter than it says."""
    with path.open("rb") as file:

        def read(start: int, length: int) -> bytes:
            file.seek(start)
            return file.read(length)

        return read_header(path.name, path.stat().st_size, read)


def parse_header(path: str, text: bytes) -> Header:
    """Return what the JSON of a safetensors header says; DataError BrokenWeights when it makes no sense."""
    tally = _Tally()
    try:
        for name, tensor in json.loads(text).items():
            if name != "__metadata__":
                tally.add(name, str(tensor["dtype"]), tuple(tensor["shape"]), int(tensor["data_offsets"][1]))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(
            "BrokenWeights", f"the safetensors header of {path} is unreadable: {type(error).__name__} {error}"
        ) from error
    return tally.header(PREFIX_BYTES + len(text))


class _Tally:
    """Sums over the tensors of one header."""

    def __init__(self) -> None:
        self.stored: Counter[str] = Counter()
        self.packed: Counter[str] = Counter()
        self.beside: Counter[str] = Counter()
        self.routed: Counter[str] = Counter()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.attends = False
        self.data_bytes = 0

    def add(self, name: str, dtype: str, shape: tuple[int, ...], end: int) -> None:
        count = math.prod(shape)
        self.stored[dtype] += count
        self.data_bytes = max(self.data_bytes, end)
        self.attends = self.attends or "attn" in name or "attention" in name
        if SHAPED.fullmatch(name):
            self.shapes[name] = shape
        if is_beside(name, dtype):
            self.beside[dtype] += count
            return
        if is_packed(dtype):
            self.packed[dtype] += count
        if ROUTED.fullmatch(name):
            self.routed[dtype] += count

    def header(self, before: int) -> Header:
        routed = {dtype: count for dtype, count in self.routed.items() if not is_packed(dtype)}
        return Header(
            dict(self.stored),
            before + self.data_bytes,
            self.shapes,
            self.attends,
            packed=dict(self.packed),
            beside=dict(self.beside),
            routed=sum(routed.values()),
            routed_packed={dtype: count for dtype, count in self.routed.items() if dtype not in routed},
        )


def _truncated(path: str, declared: int, size: int) -> DataError:
    return DataError(
        "TruncatedWeights",
        f"{path} has {size} bytes but its own header accounts for {declared}: the upload of this revision is "
        "incomplete. Choose another revision, or ask its owner to upload it again",
    )
