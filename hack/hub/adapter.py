"""Writes LoRA adapters in PEFT's layout, with deterministic random weights. For repos.py and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from hack.hub.vocabulary import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from hack.hub.model import Shape

SCALE = 0.5
"""Large enough that a small model says something else with it."""


def lora_adapter(folder: Path, shape: Shape, base: str, rank: int = 8, seed: int = 0) -> Path:
    """Write an adapter for a Llama of this shape: queries and values of every layer; returns the folder.

    Args:
        folder: to be made.
        shape: of the model that it is for.
        base: what the adapter calls that model.
        rank: of every matrix.
        seed: of its weights.
    """
    folder.mkdir(parents=True)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
    }
    random = np.random.default_rng(seed)
    tensors = {}
    head = shape.hidden // shape.heads
    for layer in range(shape.layers):
        for module, rows in (("q_proj", shape.hidden), ("v_proj", shape.kv_heads * head)):
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            for part, size in (("lora_A", (rank, shape.hidden)), ("lora_B", (rows, rank))):
                values = random.standard_normal(size, np.float32) * SCALE / rank
                tensors[f"{name}.{part}.weight"] = values.astype(np.float32)
    (folder / "adapter_model.safetensors").write_bytes(save(tensors, {"format": "pt"}))
    (folder / "adapter_config.json").write_text(to_json(config), encoding="utf-8")
    (folder / "README.md").write_text(
        "---\nlicense: apache-2.0\nlibrary_name: peft\n---\n# A test's adapter\n"
    )
    return folder
