"""GGUF models for tests: real headers of a Llama, tensors of zeros that take no room on the disk."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
TYPES = {
    "Q2_K": (GGMLQuantizationType.Q2_K, LlamaFileType.MOSTLY_Q2_K),
    "Q4_K_M": (GGMLQuantizationType.Q4_K, LlamaFileType.MOSTLY_Q4_K_M),
    "Q5_K_M": (GGMLQuantizationType.Q5_K, LlamaFileType.MOSTLY_Q5_K_M),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
}


@dataclass(frozen=True)
class Shape:
    """Dimensions of a Llama; rows are multiples of 256, so that K-quants have them."""

    hidden: int = 256
    ffn: int = 512
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    vocab: int = 96
    context: int = 2048
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name to shape as numpy has it, rows last."""
        keys = self.hidden // self.heads * self.kv_heads
        found: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.vocab, self.hidden)}
        for layer in range(self.layers):
            for name, size in {
                "attn_q": (self.hidden, self.hidden),
                "attn_k": (keys, self.hidden),
                "attn_v": (keys, self.hidden),
                "attn_output": (self.hidden, self.hidden),
                "ffn_gate": (self.ffn, self.hidden),
                "ffn_up": (self.ffn, self.hidden),
                "ffn_down": (self.hidden, self.ffn),
            }.items():
                found[f"blk.{layer}.{name}.weight"] = size
        return found

    @property
    def parameters(self) -> int:
        """Weights of the model."""
        return sum(int(np.prod(size)) for size in self.tensors.values())


LLAMA_7B = Shape(4096, 11008, 32, 32, 32, 32000, 4096)
SMALL = Shape()


def write_gguf(
    path: Path, level: str, shape: Shape = SMALL, template: str = TEMPLATE, parts: int = 1
) -> Path:
    """Write a model, or its parts beside each other; returns the first file."""
    names = [*shape.tensors]
    size = -(-len(names) // parts)
    for number in range(parts):
        name = path if parts == 1 else path.with_name(f"{path.stem}-{number + 1:05}-of-{parts:05}.gguf")
        own = {one: shape.tensors[one] for one in names[number * size : (number + 1) * size]}
        split = {"split.no": number, "split.count": parts, "split.tensors.count": len(names)}
        _write(name, level, shape, own, template if number == 0 else "", split if parts > 1 else {})
    return path if parts == 1 else path.with_name(f"{path.stem}-00001-of-{parts:05}.gguf")


def _write(
    path: Path,
    level: str,
    shape: Shape,
    tensors: Mapping[str, tuple[int, ...]],
    template: str,
    split: Mapping[str, int],
) -> None:
    kind, file_type = TYPES[level]
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "llama")
    for key, value in split.items():
        writer.add_uint16(key, value) if key != "split.tensors.count" else writer.add_int32(key, value)
    if split.get("split.no", 0) == 0:
        _metadata(writer, shape, template)
        writer.add_file_type(file_type)
    total = 0
    block, width = GGML_QUANT_SIZES[kind]
    for name, size in tensors.items():
        length = int(np.prod(size)) // block * width
        writer.add_tensor_info(name, size, np.dtype(np.float16), length, kind)
        total += -(-length // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        head = file.seek(0, 2)
        file.truncate(-(-head // 32) * 32 + total)


def _metadata(writer: GGUFWriter, shape: Shape, template: str) -> None:
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_license("mit")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{number}" for number in range(shape.vocab)])
    writer.add_token_merges(["t 1", "t1 0"])
    for key, value in shape.extra.items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        writer.add_array(key, value) if isinstance(value, list) else add(key, value)
    if template:
        writer.add_chat_template(template)


def text(content: str) -> bytes:
    """A text as GGUF has it."""
    return struct.pack("<Q", len(content.encode())) + content.encode()


def raw(
    pairs: bytes = b"", tensors: bytes = b"", counts: tuple[int, int] = (0, 0), version: int = 3
) -> bytes:
    """A file from its pieces, right or wrong; ``counts`` are of tensors and of keys."""
    return b"GGUF" + struct.pack("<IQQ", version, *counts) + pairs + tensors
