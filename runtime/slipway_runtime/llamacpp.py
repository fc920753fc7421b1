"""llama.cpp's converter: where it lies and what it knows. Called by inspection and methods."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from slipway_runtime.errors import ToolError
from slipway_runtime.modality import MULTIMODAL, TEXT
from slipway_runtime.tool import run_tool

CONVERTER = "/opt/llama.cpp/convert_hf_to_gguf.py"
"""The image's place for it; SLIPWAY_CONVERT names another."""
LISTED = re.compile(r"\s*- (\S+)")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
"""The converter must take what lies in the folder, and ask nobody."""


def converter(environment: Mapping[str, str]) -> list[str]:
    """Return the converter's command without arguments; ToolError when the image lacks it."""
    script = Path(environment.get("SLIPWAY_CONVERT") or CONVERTER)
    if not script.is_file():
        raise ToolError("ToolMissing", f"{script} is not in this image: is it Slipway's runtime image?")
    return [environment.get("SLIPWAY_CONVERT_PYTHON") or sys.executable, str(script)]


def architectures(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the names of text architectures that the converter knows.

    The file ``architectures.txt`` beside the converter, made from its own ``--print-supported-models`` when
    the image is built, spares the import of torch; without it the converter is asked.
    """
    command = converter(environment)
    listing = Path(command[1]).with_name("architectures.txt")
    if listing.is_file():
        return parse_architectures(listing.read_text(encoding="utf-8").splitlines())
    lines: list[str] = []
    outcome = run_tool([*command, "--print-supported-models"], lines.append, OFFLINE)
    known = parse_architectures(lines)
    if outcome.code != 0 or not known:
        raise ToolError("ToolMissing", f"the converter can't list its models:\n{outcome.last_words}")
    return known


def parse_architectures(lines: list[str]) -> frozenset[str]:
    """Return the names under "TEXT models:"; those under "MMPROJ models:" are no language models."""
    names: set[str] = set()
    text = False
    for line in lines:
        if line.rstrip().endswith("models:"):
            text = "TEXT" in line
        elif text and (match := LISTED.fullmatch(line.rstrip())):
            names.add(match[1])
    return frozenset(names)


def is_convertible(modality: str, names: Iterable[str], known: Collection[str]) -> bool:
    """Return whether llama.cpp can serve the model once it is converted.

    Of a multimodal model the converter takes the language part, by the architecture that its ``text_config``
    names or else by the model's own (``get_model_architecture`` in its conversion/base.py); what sees or
    hears would be a second file, which Slipway does not make: such a model is convertible, and still
    multimodal.
    Embedding models are converted too, but this engine is here for writing text.

    Args:
        modality: as ``slipway_runtime.modality`` says.
        names: of ``model_figures.text_architectures``.
        known: of ``architectures``.
    """
    return modality in {TEXT, MULTIMODAL} and any(name in known for name in names)
