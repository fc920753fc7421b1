"""Checks a command line against an engine's own parser, by the golden files of hack/engines/parsers.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "parsers"
NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
SIZE = re.compile(r"auto|-?\d+|\d+(\.\d+)?[kmgtKMGT]i?")
BOOLEANS = {"1", "0", "on", "off", "t", "f", "true", "false", "y", "n", "yes", "no"}
DECIMAL = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Parser:
    """What an engine's parser takes.

    Attributes:
        options: each flag to its option.
        positionals: how many arguments without a flag it takes.
        rules: see hack/engines/recipes.py.
        parameters: ollama's Modelfile PARAMETERs by name.
    """

    options: Mapping[str, Mapping[str, Any]]
    positionals: int
    rules: Mapping[str, bool]
    parameters: Mapping[str, Mapping[str, Any]]


@cache
def parser(engine: str) -> Parser:
    """The parser of an engine, from its golden file."""
    found = json.loads((GOLDEN / f"{engine}.json").read_text("utf-8"))
    named = {flag: option for option in found["options"] for flag in option["flags"]}
    parameters = {flag: option for option in found.get("parameters", ()) for flag in option["flags"]}
    return Parser(named, len(found["positionals"]), found["rules"], parameters)


def check_arguments(engine: str, args: Sequence[str]) -> list[str]:
    """Mistakes that the engine's parser would refuse, or read otherwise than it was meant; empty for none.

    Args:
        engine: name of a file in tests/golden/parsers: vllm, sglang, lmdeploy, llama-server, tgi,
            llama-cpp-python, tensorrt-llm, text-generation-webui or ollama.
        args: the arguments after the command; for ollama its settings, each ``NAME=value`` (environment) or
            ``PARAMETER name value`` (a line of the Modelfile).
    """
    known = parser(engine)
    return list(_settings(known, args) if engine == "ollama" else _walk(known, args))


def _walk(known: Parser, args: Sequence[str]) -> Iterator[str]:
    bare, position = 0, 0
    while position < len(args):
        given = args[position]
        position += 1
        if not _is_flag(given):
            bare += 1
            if bare > known.positionals:
                yield f"{given!r}: nothing takes this argument"
            continue
        # Everything up to the next flag may be the option's.
        end = position
        while end < len(args) and not _is_flag(args[end]):
            end += 1
        taken, mistakes = _option(known, given, args[position:end])
        position += taken
        yield from mistakes


def _option(known: Parser, given: str, following: Sequence[str]) -> tuple[int, list[str]]:
    """How many of the following arguments are this option's, and what is wrong with it."""
    name, joined, value = given.partition("=")
    if joined and known.rules.get("separate"):
        return 0, [f"{given}: the value must be an argument of its own"]
    name, dotted = _name(known, name)
    option = known.options.get(name)
    if option is None:
        return 0, [f"{name}: unknown option"]
    values = [value] if joined else following
    taken, mistakes = _dotted(name, option, values) if dotted else _values(name, option, values)
    if joined and not taken:
        mistakes = mistakes or [f"{name}: takes no value, but is given {value!r}"]
    return (0 if joined else taken), mistakes


def _values(name: str, option: Mapping[str, Any], values: Sequence[str]) -> tuple[int, list[str]]:
    """How many of these values the option takes, and what is wrong with them."""
    kind = option["kind"]
    least = 0 if kind in ("flag", "optional") else option.get("count", 1)
    most = option.get("count", len(values)) if kind == "list" else 0 if kind == "flag" else 1
    taken = min(most, len(values))
    if taken < least:
        return taken, [f"{name}: its value is missing"]
    return taken, [mistake for each in values[:taken] for mistake in _value(name, option, each)]


def _name(known: Parser, name: str) -> tuple[str, bool]:
    """The flag as the parser knows it, and whether it names a key inside a JSON argument."""
    head, dot, _keys = name.partition(".")
    if not known.rules.get("dotted") or not dot or name in known.options:
        head, dot = name, ""
    if known.rules.get("underscores") and head.startswith("--"):
        head = head.replace("_", "-")
    return head, bool(dot)


def _dotted(name: str, option: Mapping[str, Any], values: Sequence[str]) -> tuple[int, list[str]]:
    if "json" not in option.get("type", "") and name not in JSON_BY_HAND:
        return 1, [f"{name}: holds no JSON, so no dotted key"]
    return 1, [] if values else [f"{name}: its value is missing"]


JSON_BY_HAND = {"--hf-overrides", "--additional-config", "--model-loader-extra-config"}
"""vLLM's converters of these take any text, but JSON is what they are for."""


def _value(name: str, option: Mapping[str, Any], value: str) -> list[str]:
    choices = option.get("choices")
    if choices is not None and value not in choices:
        return [f"{name}: {value!r} is none of {', '.join(choices)}"]
    types = option.get("type", "str").split("|")
    if any(_fits(each, value) for each in types):
        return []
    return [f"{name}: {value!r} is no {' or '.join(types)}"]


def _fits(type_name: str, value: str) -> bool:
    if type_name == "json":
        try:
            json.loads(value)
        except ValueError:
            return False
        return True
    if type_name == "bool":
        return value.lower() in BOOLEANS
    pattern = {"int": DECIMAL, "float": NUMBER, "size": SIZE}.get(type_name)
    return pattern is None or pattern.fullmatch(value) is not None


def _is_flag(argument: str) -> bool:
    return argument.startswith("-") and argument != "-" and NUMBER.fullmatch(argument) is None


def _settings(known: Parser, settings: Sequence[str]) -> Iterator[str]:
    """Mistakes in ollama's environment and Modelfile lines."""
    for setting in settings:
        words = setting.split(" ", 2)
        if words[0] == "PARAMETER":
            name, value = words[1] if len(words) > 1 else "", words[2] if len(words) > 2 else None
            option, what = known.parameters.get(name), "PARAMETER"
        else:
            name, joined, text = setting.partition("=")
            value, option, what = text if joined else None, known.options.get(name), "variable"
        if option is None:
            yield f"{name}: unknown {what}"
        elif value is None:
            yield f"{name}: its value is missing"
        else:
            yield from _value(name, option, value)
