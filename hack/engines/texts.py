"""Reads an engine's options out of help text or source, where its parser can't be imported.

Called by hack/engines/parsers.py. Each function takes the text and returns what tests/golden/parsers/*.json
holds: ``options`` and ``positionals``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

Found = dict[str, Any]

FLAG = r"--?[A-Za-z][A-Za-z0-9._-]*"
NUMBERS = {"N", "PORT", "INDEX", "SEED", "SECONDS", "SIMILARITY", "P"}
"""Names of values that are numbers in llama.cpp's help; the rest is text."""


def _sorted(options: list[Found]) -> list[Found]:
    return sorted(options, key=lambda option: str(option["flags"][-1]))


def number(text: str) -> int | float | str:
    """The text as a number where it is one."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def type_of(value: Any) -> str:
    """Type of an option of which only the default is known."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "str"
    return "int" if isinstance(value, int) else "float"


def llama_server(text: str) -> Found:
    """Options of ``llama-server --help``: flags at the start of a line, then the value's name, then words."""
    options = []
    for line in text.splitlines():
        head = re.match(rf"({FLAG}(?:,\s+{FLAG})*)(.*)", line)
        if head is None:
            continue
        flags = re.findall(FLAG, head[1])
        # A space, then the value's name; two spaces, or the line's end, start the description.
        value = re.match(r" (\S.*?)(?:  |$)", head[2])
        options.append(_llama_option(flags, value[1].strip() if value else ""))
    plain = [option for option in options if "--help" not in option["flags"]]
    return {"options": _sorted(plain), "positionals": []}


def _llama_option(flags: list[str], value: str) -> Found:
    if not value:
        return {"flags": flags, "kind": "flag"}
    choices = re.fullmatch(r"[\[{<]([\w+-]+(?:[,|][\w+-]+)+)[\]}>]", value)
    found: Found = {"flags": flags, "kind": "value", "type": "str"}
    if choices:
        found["choices"] = re.split(r"[,|]", choices[1])
    elif " " in value and re.fullmatch(r"[A-Z]+( [A-Z]+)+", value):
        found["kind"], found["count"] = "list", len(value.split())
    elif value in NUMBERS:
        # `--gpu-layers N` also takes words: the help says so in its sentence, not in the name.
        found["type"] = "str" if any("gpu-layers" in flag or "ngl" in flag for flag in flags) else "float"
    return found


def clap(text: str) -> Found:
    """Options of a clap program's long help, as in TGI's launcher.md."""
    options: list[Found] = []
    for line in text.splitlines():
        head = re.match(rf"\s+(?:(-\w), )?({FLAG})(?: <(\w+)>)?$", line)
        if head:
            options.append({"flags": [flag for flag in (head[1], head[2]) if flag], "kind": "flag"})
            if head[3]:
                options[-1].update(kind="value", type="str")
        elif options:
            _clap_detail(options[-1], line.strip())
    plain = [option for option in options if not {"--help", "--version"} & set(option["flags"])]
    return {"options": _sorted(plain), "positionals": []}


def _clap_detail(option: Found, line: str) -> None:
    if default := re.fullmatch(r"\[default: (.+)\]", line):
        option["default"] = number(default[1])
        option["type"] = type_of(option["default"])
    elif values := re.fullmatch(r"\[possible values: (.+)\]", line):
        option["choices"] = values[1].split(", ")
    elif listed := re.match(r"- ([a-z0-9-]+):", line):
        option.setdefault("choices", []).append(listed[1])


def _calls(text: str, name: str) -> Iterator[ast.Call]:
    """Calls of a method of this name, in the order of the text."""
    found = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name
    ]
    return iter(sorted(found, key=lambda call: (call.lineno, call.col_offset)))


def _literal(node: ast.expr | None) -> Any:
    """The value of a literal, else nothing."""
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def _flags_of(call: ast.Call) -> list[str]:
    given = [_literal(argument) for argument in call.args]
    return [flag for flag in given if isinstance(flag, str) and flag.startswith("-")]


def _typed(option: Found, type_name: str, choices: Any, default: Any) -> Found:
    if option["kind"] != "flag":
        option["type"] = type_name if type_name in {"int", "float"} else "str"
        if isinstance(choices, list):
            option["choices"] = choices
    if default is not None:
        option["default"] = default
    return option


def argparse_source(text: str) -> Found:
    """Options of a Python file that calls ``add_argument``."""
    options = []
    for call in _calls(text, "add_argument"):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        flags, action = _flags_of(call), given.get("action")
        if not flags:
            continue
        both = isinstance(action, ast.Attribute) and action.attr == "BooleanOptionalAction"
        flags += [f"--no-{flag[2:]}" for flag in flags if both]
        kind = "flag" if both or _literal(action) == "store_true" else "value"
        if _literal(given.get("nargs")) in ("+", "*"):
            kind = "list"
        name = ast.unparse(given["type"]) if "type" in given else ""
        found: Found = {"flags": flags, "kind": kind}
        options.append(_typed(found, name, _literal(given.get("choices")), _literal(given.get("default"))))
    return {"options": _sorted(options), "positionals": []}


def click_source(text: str, command: str) -> Found:
    """Options of the click command of this name in a Python file."""
    tree = ast.parse(text)
    found = next(
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(_is_command(decorator, command) for decorator in node.decorator_list)
    )
    options, positionals = [], []
    for decorator in found.decorator_list:
        if not isinstance(decorator, ast.Call):
            continue
        if ast.unparse(decorator.func) == "click.argument":
            positionals.append({"name": _literal(decorator.args[0]), "kind": "value"})
        elif ast.unparse(decorator.func) == "click.option":
            options.append(_click_option(decorator))
    return {"options": _sorted(options), "positionals": positionals}


def _is_command(decorator: ast.expr, name: str) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and ast.unparse(decorator.func) == "click.command"
        and [_literal(argument) for argument in decorator.args] == [name]
    )


def _click_option(call: ast.Call) -> Found:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    option: Found = {"flags": _flags_of(call), "kind": "flag" if _literal(given.get("is_flag")) else "value"}
    kind, choices = given.get("type"), None
    if isinstance(kind, ast.Call) and "Choice" in ast.unparse(kind.func):
        choices = _literal(kind.args[0])
        # Aliases are choices too.
        extra = _literal(kind.args[1]) if len(kind.args) > 1 else None
        choices = [*choices, *extra] if choices and isinstance(extra, dict) else choices
    name = "" if kind is None else ast.unparse(kind)
    return _typed(option, name, choices, _literal(given.get("default")))


def ollama_variables(config: str) -> list[Found]:
    """Environment variables that envconfig/config.go of ollama lists in ``AsMap``."""
    # `{"NAME", Reader(), "what it does"}`, and `Reader = Uint("NAME", 1)` for the type.
    made = {name: kind for kind, name in re.findall(r'= (\w+)\("([A-Z_]+)"', config)}
    types = {"Bool": "bool", "BoolWithDefault": "bool", "Uint": "int", "Uint64": "int"}
    names = sorted({*re.findall(r'\{"([A-Za-z_]+)", \w+\(', config), *made})
    typed = {name: types.get(made.get(name, ""), "str") for name in names}
    return [{"flags": [name], "kind": "value", "type": kind} for name, kind in typed.items()]


def ollama_parameters(types_go: str) -> list[Found]:
    """Modelfile PARAMETERs: the fields of ``Options`` and ``Runner`` in api/types.go of ollama."""
    go = {"int": "int", "float32": "float", "*bool": "bool", "string": "str", "[]string": "str"}
    found = []
    for struct in ("Options", "Runner"):
        body = re.search(rf"^type {struct} struct \{{\n(.*?)^\}}", types_go, re.DOTALL | re.MULTILINE)
        fields = re.findall(r"^\s+\w+\s+(\S+)\s+`json:\"(\w+)", body[1] if body else "", re.MULTILINE)
        found += [{"flags": [name], "kind": "value", "type": go[kind]} for kind, name in fields]
    return _sorted(found)
