"""The tokenizer by which the load tool makes prompts: of a model's folder, or out of its GGUF file."""

from __future__ import annotations

import sys
from pathlib import Path

from slipway_runtime.errors import NotFoundError, ToolError
from slipway_runtime.llamacpp import OFFLINE
from slipway_runtime.log import LOGGER
from slipway_runtime.tool import run_tool
from slipway_runtime.weights import CONFIG

# A process of its own: transformers takes 500 MB for this, which the load tool shall have again.
PROGRAM = """
import sys
from transformers import AutoTokenizer
folder, name, target = sys.argv[1:]
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)
"""


def find_tokenizer(published: Path, scratch: Path) -> Path:
    """Return a folder from which transformers loads the model's tokenizer.

    Args:
        published: files of the source, or of what is served, where the source is not there.
        scratch: where it is written when it has to be taken out of a GGUF file (a few seconds).

    Raises:
        NotFoundError: there is neither.
        ToolError: LoadToolFailed, transformers can't read the file's vocabulary.
    """
    if (published / CONFIG).is_file():
        return published
    model = next(iter(sorted(published.glob("*.gguf"))), None)
    if model is None:
        message = (
            f"{published} has neither {CONFIG} nor a GGUF file: fetch of the source artifact must end first"
        )
        raise NotFoundError("FileNotFound", message)
    target = scratch / "tokenizer"
    LOGGER.info("the tokenizer is taken out of %s", model.name)
    outcome = run_tool([sys.executable, "-c", PROGRAM, published, model.name, target], environment=OFFLINE)
    if outcome.code != 0:
        message = f"no tokenizer comes out of {model.name}. The last words:\n{outcome.last_words}"
        raise ToolError("LoadToolFailed", message)
    return target
