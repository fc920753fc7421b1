"""From a folder to a model that generates: device, type, quantisation and attention. Called by ``server``.

Only safetensors, only local files, and no code of the model's own unless the options trust it.
"""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from typing import Any

from slipway_runtime.errors import DataError, NotFoundError, RequestError, StageError
from slipway_runtime.log import LOGGER
from slipway_runtime.serve.model import TransformersModel
from slipway_runtime.serve.options import Options

PLUGINS = {"hpu": "habana_frameworks.torch.core", "npu": "torch_npu"}
"""Devices that torch knows only after this import."""
ACCELERATORS = ("cuda", "xpu", "hpu", "npu")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
CONTEXT_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "n_ctx",
)
"""What configs of different families call the context length."""


def load_model(options: Options) -> TransformersModel:
    """Load the model.

    Raises:
        StageError: the folder or the options are wrong; message says what to do.
    """
    began = time.monotonic()
    require_weights(options.model)
    # Read by libraries when they are imported: nothing is ever asked of a hub.
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    device = choose_device(options.device)
    set_up_libraries(options)
    from transformers import AutoTokenizer

    model = load_weights(options, device)
    tokenizer = AutoTokenizer.from_pretrained(options.model, **local(options))
    context_length = choose_context(options.context_length, read_context(model.config))
    took = time.monotonic() - began
    LOGGER.info("loaded %s on %s as %s in %.1f s", options.name, model.device, model.dtype, took)
    return TransformersModel(model, tokenizer, context_length)


def local(options: Options) -> dict[str, Any]:
    """Return the arguments by which transformers reads nothing but the folder, and runs what is trusted."""
    return {"local_files_only": True, "trust_remote_code": options.trust_remote_code}


def require_weights(folder: Path) -> None:
    """Raise StageError when the folder has no config, or no weights that are safe to read."""
    if not (folder / "config.json").is_file():
        raise NotFoundError("NoConfig", f"{folder} has no config.json: --model must be a model's folder")
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise DataError(
            "PickleOnly",
            f"{folder} has only pickle weights ({', '.join(pickles[:3])}), which can run code: "
            "safetensors are needed",
        )
    raise NotFoundError("NoWeights", f"{folder} has no safetensors file")


def choose_device(wish: str) -> str:
    """Return the device's type: the wish, or the first accelerator that is there, else the CPU.

    Raises:
        RequestError: a wished accelerator is not there.
    """
    import torch

    def present(name: str) -> bool:
        if name in PLUGINS:
            try:
                importlib.import_module(PLUGINS[name])
            except ImportError:
                return False
        backend = getattr(torch, name, None)
        return backend is not None and bool(backend.is_available())

    if wish == "cpu":
        return wish
    if wish != "auto":
        if present(wish):
            return wish
        raise RequestError("MissingInput", f"--device {wish}: torch {torch.__version__} sees none")
    return next((name for name in ACCELERATORS if present(name)), "cpu")


def set_up_libraries(options: Options) -> None:
    """Set torch's threads, and let transformers speak only of what is wrong."""
    import torch
    from transformers.utils import logging

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load_weights(options: Options, device: str) -> Any:
    """Return transformers' model on the device, ready to generate.

    Raises:
        DataError: transformers does not know the architecture.
        RequestError: bitsandbytes or an attention kernel is missing.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    try:
        config = AutoConfig.from_pretrained(options.model, **local(options))
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = kind.from_pretrained(
            options.model, config=config, **build_arguments(options, device), **local(options)
        )
    except ImportError as error:
        raise RequestError("MissingInput", f"a package that the options need is missing: {error}") from error
    except (ValueError, KeyError, OSError) as error:
        raise refuse_model(options, error) from error
    return model.eval()


def build_arguments(options: Options, device: str) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that the options ask for."""
    import torch

    dtype = options.dtype if options.dtype == "auto" else getattr(torch, options.dtype)
    several = device == "cuda" and torch.cuda.device_count() > 1
    # A single device needs no plan; several get the layers one after the other.
    arguments: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": True,
        "device_map": "auto" if several else device,
    }
    if options.attention is not None:
        arguments["attn_implementation"] = options.attention
    if options.quantization != "none":
        arguments["quantization_config"] = build_quantization(options.quantization, dtype)
    return arguments


def build_quantization(name: str, dtype: Any) -> Any:
    """Return bitsandbytes' configuration of this name."""
    import torch
    from transformers import BitsAndBytesConfig

    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = torch.bfloat16 if dtype == "auto" else dtype
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_use_double_quant=True,
    )


def refuse_model(options: Options, error: Exception) -> StageError:
    """Return what transformers' error means."""
    import transformers

    code = "" if options.trust_remote_code else " (a model's own code runs only with --trust-remote-code)"
    return DataError(
        "UnsupportedArchitecture",
        f"transformers {transformers.__version__} can't load {options.model}{code}: "
        f"{type(error).__name__}: {error}",
    )


def read_context(config: Any) -> int | None:
    """Return the context length of the model's config; None when it has none, as of state-space models."""
    text = config.get_text_config()
    lengths = (getattr(text, name, None) for name in CONTEXT_NAMES)
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


def choose_context(wish: int | None, own: int | None) -> int | None:
    """Return the context length to serve; RequestError when the wish is more than the model has."""
    if wish is not None and own is not None and wish > own:
        raise RequestError("MissingInput", f"--context-length {wish} is more than the model's own {own}")
    return own if wish is None else wish
