"""What each tool gets: files of the artifact, texts, commands, notes. Called by the CLI's export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from slipway.local import llamacpp, lmstudio, ollama
from slipway.local.served import Package, Served, Text
from slipway_runtime.contract import MANIFEST

TOOLS: Mapping[str, Callable[[Served], Package]] = MappingProxyType(
    {
        "ollama": ollama.build_package,
        "lmstudio": lmstudio.build_package,
        "llamacpp": llamacpp.build_package,
    }
)
"""Tools that take a GGUF, by the value of ``--to``; any other takes the artifact as it was published."""


def build_package(tool: str, served: Served, paths: Sequence[str], manifest: bytes) -> Package:
    """The package of one tool.

    Args:
        tool: key of ``TOOLS``, or ``files``.
        served: the model as it is served.
        paths: files of the artifact.
        manifest: the artifact's manifest, byte for byte.
    """
    files = tuple(sorted(path for path in paths if path.endswith(".gguf")))
    if tool in TOOLS:
        return TOOLS[tool](replace(served, files=files) if files else served)
    commands = (f"llama-server --model {files[0]} --jinja",) if files else ()
    return Package({path: path for path in paths}, (Text(MANIFEST, manifest),), commands, ())
