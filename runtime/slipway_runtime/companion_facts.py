"""The facts of what is served beside a model: a LoRA adapter, or heads that guess. Pure.

Called by inspection and by the operator's command line; the keys are those of the operator's
``plan.companions.Companion`` in camelCase.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_runtime.errors import DataError
from slipway_runtime.lora import needs_peft
from slipway_runtime.model_figures import read_figure
from slipway_runtime.weights import ADAPTER_CONFIG, CONFIG, Header

HEADS = {"mlp": ("mlp_speculator", ("n_predict",)), "medusa": ("medusa", ("num_heads", "medusa_num_heads"))}
"""Method to the ``model_type`` of its config.json and the names of the number of heads there."""
UNSERVED = {
    "use_dora": "DoRA",
    "modules_to_save": "whole modules beside the low-rank ones (modules_to_save)",
    "lora_bias": "biases (lora_bias)",
    "alora_invocation_tokens": "tokens that switch it on (aLoRA)",
    "layer_replication": "layers of its own (layer_replication)",
    "use_bdlora": "block-diagonal matrices (BD-LoRA)",
    "use_qalora": "pooled inputs (QALoRA)",
}
"""Options of PEFT that no engine serves beside a base: what ``PEFTHelper`` of vLLM 0.32 refuses."""
REWRITING = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Beginnings of ``init_lora_weights`` that change the base when PEFT loads the adapter; engines don't."""


UNMERGED = ("alora_invocation_tokens", "layer_replication", "use_bdlora", "use_qalora")
"""Of these what can't be merged into a base's weights either."""
TARGET_LIMIT = 48
"""Characters of a module's name that are kept of 16; a result has room for no more."""


def adapter_facts(config: Mapping[str, Any], header: Header, *, merging: bool = False) -> dict[str, Any]:
    """Return ``{"rank", "hiddenSize", "base", "targets", "whole"}`` of an adapter.

    ``rank`` is the largest of any module; ``hiddenSize`` that of the model it was made for, 0 when no tensor
    shows it; ``base`` what the file calls that model; ``whole`` whether PEFT is needed to merge it.

    Args:
        config: the parsed adapter_config.json.
        header: of its safetensors.
        merging: it is to be merged, not served.

    Raises:
        DataError: NotAnAdapter, it is no LoRA, or one that engines can't serve beside a base.
    """
    _refuse_unserved(config, UNMERGED if merging else tuple(UNSERVED))
    if config.get("bias") not in (None, "none") and not merging:
        raise DataError(
            "NotAnAdapter",
            f"the adapter trained biases ({config['bias']}), which no engine serves: set mode to merge",
        )
    pattern = config.get("rank_pattern")
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else ())]
    if not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in ranks):
        raise DataError("NotAnAdapter", f"{ADAPTER_CONFIG} has no rank: r must be a whole number above 0")
    shown = [shape[-1] for name, shape in header.shapes.items() if "lora_A" in name and shape]
    modules = config.get("target_modules")
    return {
        "rank": max(ranks),
        "hiddenSize": max(shown, default=0),
        "base": str(config.get("base_model_name_or_path") or "")[:256],
        "targets": sorted(str(one)[:TARGET_LIMIT] for one in modules)[:16]
        if isinstance(modules, list)
        else [str(modules or "")[:256]],
        "whole": needs_peft(config),
    }


def _refuse_unserved(config: Mapping[str, Any], options: tuple[str, ...]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise DataError("NotAnAdapter", f"{ADAPTER_CONFIG} says peft_type {kind!r}: only LORA can be served")
    for key in options:
        if config.get(key):
            can = "set mode to merge" if key not in UNMERGED else "train a plain LoRA"
            raise DataError(
                "NotAnAdapter",
                f"the adapter has {UNSERVED[key]}, which no engine serves beside a base: {can}",
            )
    if str(config.get("init_lora_weights")).lower().startswith(REWRITING):
        raise DataError(
            "NotAnAdapter",
            f"the adapter began as {config['init_lora_weights']}, which changes its base when it is loaded: "
            "convert it to a plain LoRA (path_initial_model_for_weight_conversion of PEFT)",
        )


def heads_facts(config: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return ``{"heads", "hiddenSize", "vocabSize"}`` of heads; 0 where the file says nothing.

    Args:
        config: the parsed config.json.
        method: ``mlp`` or ``medusa``.

    Raises:
        DataError: NotHeads, it describes something else.
    """
    wanted, names = HEADS[method]
    # Medusa's first checkpoints name no type, and vLLM takes them all the same.
    kind = config.get("model_type", wanted if "medusa_num_heads" in config else None)
    if kind != wanted:
        raise DataError(
            "NotHeads",
            f"{CONFIG} says model_type {kind!r}, and method {method} needs {wanted}: name heads of that "
            "kind, or another method",
        )
    return {
        "heads": read_figure(config, names),
        "hiddenSize": read_figure(config, ("emb_dim", "hidden_size")),
        "vocabSize": read_figure(config, ("vocab_size",)),
    }
