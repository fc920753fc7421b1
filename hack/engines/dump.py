"""Prints one engine's argument parser as JSON; run by hack/engines/parsers.py with the engine's own Python.

The parser is the engine's real one: its module is imported, and only what the parser does not use is stood in
for.
Standard library only, apart from the engine.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from hack.engines import stubs

SAMPLES = {
    "str": "no-such-value",
    "int": "7",
    "float": "0.25",
    "size": "16k",
    "bool": "true",
    "json": "{}",
}
"""A value of each type; what a parser's own converter makes of them says which types it takes."""


def converts(convert: Callable[[str], Any], text: str) -> bool:
    """Whether the parser takes this text."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            convert(text)
    except Exception:  # noqa: BLE001 - each engine has its own errors
        return False
    return True


def type_of(action: argparse.Action) -> str:
    """Types that an option takes, joined by ``|``; ``str`` is any text."""
    convert = action.type if callable(action.type) else None
    if convert is None or converts(convert, SAMPLES["str"]):
        return "str"
    taken = [name for name, text in SAMPLES.items() if converts(convert, text)]
    if "json" in taken and "bool" in taken:
        return "json"  # any JSON, not only an object
    # Each integer is a number, and a size is also written without its letter.
    implied = {"float": "int", "size": "int"}
    return "|".join(name for name in taken if name not in {implied.get(other) for other in taken}) or "str"


def kind_of(action: argparse.Action) -> str:
    """``flag`` takes no value, ``value`` one, ``optional`` one or none, ``list`` several."""
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return "flag"
    if action.nargs is None or action.nargs == 1:
        return "value"
    return "optional" if action.nargs == "?" else "list"


def plain(value: Any) -> Any:
    """The value when JSON holds it as it is, else nothing."""
    if isinstance(value, (bool, int, str)) or (isinstance(value, float) and abs(value) != float("inf")):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(each, (bool, int, float, str)) for each in value):
        return list(value)
    return None


def option(action: argparse.Action) -> dict[str, Any]:
    """One option as JSON: its flags, how many values, their type, the choices and the default."""
    found: dict[str, Any] = {"flags": list(action.option_strings), "kind": kind_of(action)}
    if found["kind"] != "flag":
        found["type"] = type_of(action)
        if action.choices is not None:
            found["choices"] = [str(getattr(each, "value", each)) for each in action.choices]
    if action.default is not argparse.SUPPRESS and plain(action.default) is not None:
        found["default"] = plain(action.default)
    return found


def parser_json(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Every option and positional argument of an argparse parser, sorted by name."""
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]  # noqa: SLF001
    named = [action for action in actions if action.option_strings]
    bare = [action for action in actions if not action.option_strings]
    return {
        "options": sorted((option(action) for action in named), key=lambda each: str(each["flags"][-1])),
        "positionals": [{"name": action.dest, "kind": kind_of(action)} for action in bare],
    }


def _schema(function: Callable[..., Any], **_options: Any) -> str:
    """What vLLM compares of ``torch.library.infer_schema``: the names and how many results."""
    signature = inspect.signature(function)
    several = "tuple" in str(signature.return_annotation).lower()
    return f"({', '.join(signature.parameters)}) -> {'(Tensor, Tensor)' if several else 'Tensor'}"


def vllm() -> argparse.ArgumentParser:
    """``vllm serve``: FlexibleArgumentParser filled by make_arg_parser."""
    os.environ["VLLM_TARGET_DEVICE"] = "cpu"
    torch = {"torch.__version__": "2.13.0", "torch.version.cuda": None, "torch.version.hip": None}
    stubs.install("torch", "xgrammar", "llguidance", values={**torch, "torch.library.infer_schema": _schema})
    made = import_module("vllm.entrypoints.launchers.cli_args").make_arg_parser
    platform = type(import_module("vllm.platforms").current_platform)
    # Kernels are compiled code, which is not here.
    platform.import_ir_kernels = classmethod(lambda _cls: None)
    parser = import_module("vllm.utils.argparse_utils").FlexibleArgumentParser()
    found: argparse.ArgumentParser = made(parser)
    return found


def sglang() -> argparse.ArgumentParser:
    """``python -m sglang.launch_server``: ServerArgs.add_cli_args."""
    patches = "sglang.srt.utils.hf_transformers_patches"
    values = {"torch.__version__": "2.14.1", "torch.version.cuda": None, "torch.version.hip": None}
    stubs.install(
        "torch", "triton", "PIL", "transformers", patches, values={**values, "torch.npu": stubs.ABSENT}
    )
    parser = argparse.ArgumentParser()
    import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
    return parser


def lmdeploy() -> argparse.ArgumentParser:
    """``lmdeploy serve api_server``: SubCliServe.add_parser_api_server."""
    stubs.install("torch", "transformers", "tqdm", "mmengine", "psutil", "PIL", "pybase64", "shortuuid")
    command = import_module("lmdeploy.cli.serve").SubCliServe
    command.add_parser_api_server()
    found: argparse.ArgumentParser = command.subparsers.choices["api_server"]
    return found


def llama_cpp_python() -> argparse.ArgumentParser:
    """``python -m llama_cpp.server``: add_args_from_model over the pydantic settings."""
    stubs.install("llama_cpp._ctypes_extensions", "diskcache", "jinja2", "numpy")
    parser = argparse.ArgumentParser()
    settings = import_module("llama_cpp.server.settings").Settings
    import_module("llama_cpp.server.cli").add_args_from_model(parser, settings)
    # As main() of llama_cpp/server/__main__.py does.
    parser.add_argument("--config_file", type=str)
    return parser


PARSERS = {"vllm": vllm, "sglang": sglang, "lmdeploy": lmdeploy, "llama-cpp-python": llama_cpp_python}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = parser_json(PARSERS[sys.argv[1]]())
    print(json.dumps(found))
