"""Merging by PEFT, with the whole model in memory: DoRA, biases, single tokens. For methods.merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway_runtime.errors import DataError
from slipway_runtime.tensors import read_tensors, require_numbers

if TYPE_CHECKING:
    from slipway_runtime.lora import Wish
    from slipway_runtime.progress import Progress


ERROR_LIMIT = 400
"""Characters of what PEFT says that are passed on."""


def merge_whole(base: Path, wishes: Sequence[Wish], progress: Progress, target: Path) -> None:
    """Write the base with the adapters merged one after the other; types and shard sizes are the base's.

    Raises:
        DataError: AdapterMismatch, PEFT can't put the adapter on this base; InvalidWeights.
    """
    from transformers import AutoModelForCausalLM

    from slipway_runtime.methods.merge import copy_beside, largest_shard

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True)
    for number, wish in enumerate(wishes):
        progress.report(number, len(wishes) + 1)
        model = _merged(model, wish)
    copy_beside(base, target)
    (target / "model.safetensors.index.json").unlink(missing_ok=True)  # the new one counts, if there is one
    model.save_pretrained(target, max_shard_size=max(largest_shard(base), 1 << 20))
    for path in target.glob("*.safetensors"):
        path.chmod(0o644)  # the library makes it for its owner alone, and engines are other users
        for name, stored in read_tensors(path).items():
            require_numbers(name, stored)
    progress.report(1, 1)


def _merged(model: Any, wish: Wish) -> Any:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    try:
        whole = PeftModel.from_pretrained(model, wish.folder, adapter_name=wish.name, local_files_only=True)
    except (ValueError, RuntimeError, KeyError) as error:
        why = str(error)[:ERROR_LIMIT]  # a line for each tensor that does not fit
        raise DataError(
            "AdapterMismatch",
            f"adapter {wish.name} does not fit its base: {why}. Name an adapter of this very model",
        ) from error
    for module in whole.modules():
        if isinstance(module, LoraLayer):
            module.set_scale(wish.name, wish.weight)
    try:
        return whole.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise DataError("InvalidWeights", f"adapter {wish.name}: {error}") from error
