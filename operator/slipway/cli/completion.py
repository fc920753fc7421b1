"""``slipway completion``: a completion script for the shell, made from the command line itself."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from slipway.cli import OK, PRINTED, build_parser, epilog

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = """\
  source <(slipway completion bash)    in ~/.bashrc
  source <(slipway completion zsh)     in ~/.zshrc, after compinit
  slipway completion fish | source     in ~/.config/fish/config.fish"""


@dataclass(frozen=True)
class Option:
    """One option: its names, its help, whether it has a value, and which values there are if few."""

    names: tuple[str, ...]
    help: str
    valued: bool
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A subcommand: its help, its options, the words that it takes, whether it takes files."""

    name: str
    help: str
    options: tuple[Option, ...]
    words: tuple[str, ...]
    files: bool


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "completion",
        help="print a completion script for your shell",
        description="Prints a script that completes subcommands, options and their values.",
        epilog=epilog(EXAMPLES, PRINTED),
    )
    parser.add_argument("shell", choices=SHELLS, help="your shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    commands = read_commands(build_parser())
    print({"bash": build_bash, "zsh": build_zsh, "fish": build_fish}[args.shell](commands))
    return OK


def read_commands(parser: argparse.ArgumentParser) -> list[Command]:
    """Subcommands of a parser, with their options."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001 - argparse has no public way to list them
    return [
        _command(choice.dest, choice.help, group.choices[choice.dest])
        for group in groups
        for choice in group._choices_actions  # noqa: SLF001 - same
    ]


def _command(name: str, text: str | None, parser: argparse.ArgumentParser) -> Command:
    actions = parser._actions  # noqa: SLF001 - same
    options = tuple(
        Option(tuple(one.option_strings), _clean(one.help), one.nargs != 0, _words(one))
        for one in actions
        if one.option_strings
    )
    taken = [one for one in actions if not one.option_strings]
    words = tuple(word for one in taken for word in _words(one))
    return Command(name, _clean(text), options, words, any(one.metavar == "FILE" for one in taken))


def _words(action: argparse.Action) -> tuple[str, ...]:
    return tuple(str(word) for word in action.choices or ())


def _clean(text: str | None) -> str:
    """A help text that may stand inside single quotes of any shell."""
    return (text or "").replace("'", "").replace("[", "(").replace("]", ")").replace(":", ",")


def build_bash(commands: list[Command]) -> str:
    """Subcommands, options after a dash, values of the option before; file names for the rest."""
    cases = "\n".join(
        f"    '{command.name} {name}') {_bash_value(option)} ;;"
        for command in commands
        for option in command.options
        if option.valued
        for name in option.names
    )
    options = "\n".join(
        f"    '{command.name} -'*) words='{' '.join(_names(command))}' ;;\n"
        f"    '{command.name} '*) words='{' '.join(command.words)}' ;;"
        for command in commands
    )
    names = " ".join(command.name for command in commands)
    return f"""_slipway() {{
  local words= current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{names} --help --version' -- "$current"))
    return
  fi
  case "${{COMP_WORDS[1]}} $previous" in
{cases}
  esac
  case "${{COMP_WORDS[1]}} $current" in
{options}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _slipway slipway"""


def _bash_value(option: Option) -> str:
    """Its few values; for any other value nothing, so that bash offers file names."""
    words = " ".join(option.choices)
    return f"COMPREPLY=($(compgen -W '{words}' -- \"$current\")); return" if words else "return"


def _names(command: Command) -> list[str]:
    return [name for option in command.options for name in option.names]


def build_zsh(commands: list[Command]) -> str:
    """The same with descriptions; sourced, or put as ``_slipway`` into a folder of fpath."""
    names = "\n".join(f"    '{command.name}:{command.help}'" for command in commands)
    cases = "\n".join(
        f"    {command.name}) _arguments {' '.join(_zsh_arguments(command))} ;;" for command in commands
    )
    return f"""#compdef slipway
_slipway() {{
  local -a commands=(
{names}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  local command="$words[2]"
  shift words
  (( CURRENT-- ))
  case "$command" in
{cases}
  esac
}}
if [[ "$funcstack[1]" == _slipway ]]; then _slipway "$@"; else compdef _slipway slipway; fi"""


def _zsh_arguments(command: Command) -> list[str]:
    """Specifications of ``_arguments``: an option excludes itself, a value has its words or is a file."""
    found = []
    for option in command.options:
        value = (
            ""
            if not option.valued
            else f":value:({' '.join(option.choices)})"
            if option.choices
            else ":value:_files"
        )
        excluded = f"({' '.join(option.names)})"
        found += [f"'{excluded}{name}[{option.help}]{value}'" for name in option.names]
    if command.words:
        found.append(f"':word:({' '.join(command.words)})'")
    elif command.files:
        found.append("'*:file:_files'")
    return found


def build_fish(commands: list[Command]) -> str:
    """The same for fish."""
    lines = ["complete -c slipway -n __fish_use_subcommand -f -l help -l version"]
    lines += [
        f"complete -c slipway -n __fish_use_subcommand -f -a {command.name} -d '{command.help}'"
        for command in commands
    ]
    for command in commands:
        inside = f"complete -c slipway -n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"{inside} {_fish_option(option)} -d '{option.help}'" for option in command.options]
        if command.words:
            lines.append(f"{inside} -f -a '{' '.join(command.words)}'")
        elif not command.files:
            lines.append(f"{inside} -f")
    return "\n".join(lines)


def _fish_option(option: Option) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    value = f" -x -a '{' '.join(option.choices)}'" if option.choices else " -r" if option.valued else ""
    return " ".join(names) + value
