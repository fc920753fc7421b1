"""Writes adapters and what PEFT makes of them: ``python -m hack.reference.lora FOLDER`` in image optimizer.

Each case is a folder with ``adapter_config.json``, ``adapter_model.safetensors`` and ``merged.safetensors``,
PEFT's ``merge_and_unload`` of it alone in the one base beside them, ``base.safetensors``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["query", "value"], "r": 4, "lora_alpha": 8},
    "rank-stabilised": {"target_modules": ["query"], "r": 8, "lora_alpha": 8, "use_rslora": True},
    "patterns": {
        "target_modules": ["query", "value"],
        "r": 4,
        "lora_alpha": 4,
        "rank_pattern": {"value": 2},
        "alpha_pattern": {"0.value": 6},
    },
    "embedding": {"target_modules": ["embed", "query"], "r": 4, "lora_alpha": 16},
    "turned": {"target_modules": ["turned"], "r": 4, "lora_alpha": 8, "fan_in_fan_out": True},
    "saved": {"target_modules": ["query"], "modules_to_save": ["head"], "r": 4, "lora_alpha": 8},
}
"""Case to the fields of PEFT's LoraConfig."""
HIDDEN, WORDS = 16, 24


def model() -> Any:
    """A model with every kind of module that matrices are added to, in bfloat16."""
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    def layer() -> Any:
        modules = {"query": nn.Linear(HIDDEN, HIDDEN, bias=False), "value": nn.Linear(HIDDEN, 8, bias=False)}
        return nn.ModuleDict({**modules, "turned": Conv1D(HIDDEN, HIDDEN)})

    torch.manual_seed(0)
    parts = {
        "embed": nn.Embedding(WORDS, HIDDEN),
        "layers": nn.ModuleList([layer(), layer()]),
        "head": nn.Linear(HIDDEN, WORDS, bias=False),
    }
    return nn.ModuleDict(parts).to(torch.bfloat16)


def write_case(folder: Path, fields: dict[str, Any]) -> None:
    """Write an adapter of random weights, and the base with it merged by PEFT."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file

    whole = get_peft_model(model(), LoraConfig(**fields))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, values in whole.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                values.copy_(torch.randn(values.shape) * 0.1)
    whole.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    merged = {name: one.contiguous() for name, one in whole.merge_and_unload().state_dict().items()}
    save_file(merged, folder / "merged.safetensors")


def main(folder: Path) -> None:
    """Write every case and the base."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: one.contiguous() for name, one in model().state_dict().items()}, folder / "base.safetensors"
    )
    for name, fields in CASES.items():
        write_case(folder / name, fields)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
