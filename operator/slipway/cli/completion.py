"""``slipway completion``: a completion script for the shell, made from the command line itself."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class Command:
    """A subcommand: its help, its options with their help, and whether it takes files."""

    name: str
    help: str
    options: tuple[tuple[str, str], ...]
    words: tuple[str, ...]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "completion",
        help="print a completion script for your shell",
        description="bash: source <(slipway completion bash); zsh: source <(slipway completion zsh); "
        "fish: slipway completion fish | source",
    )
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from slipway.cli import build_parser

    commands = read_commands(build_parser())
    print({"bash": build_bash, "zsh": build_zsh, "fish": build_fish}[args.shell](commands))
    return 0


def read_commands(parser: argparse.ArgumentParser) -> list[Command]:
    """Subcommands of a parser, with their options."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001 - argparse has no public way to list them
    commands = []
    for group in groups:
        helps = {choice.dest: choice.help or "" for choice in group._choices_actions}  # noqa: SLF001 - same
        for name, sub in group.choices.items():
            actions = sub._actions  # noqa: SLF001 - same
            options = tuple(
                (option, _clean(action.help)) for action in actions for option in action.option_strings
            )
            words = tuple(
                str(word) for action in actions if not action.option_strings for word in action.choices or ()
            )
            commands.append(Command(name, _clean(helps.get(name)), options, words))
    return commands


def _clean(text: str | None) -> str:
    """A help text that may stand inside single quotes of any shell."""
    return (text or "").replace("'", "").replace("[", "(").replace("]", ")").replace(":", ",")


def build_bash(commands: list[Command]) -> str:
    """Completion of subcommands and options; file names for the rest."""
    cases = "\n".join(
        f"    {command.name}) words='{' '.join([*(name for name, _ in command.options), *command.words])}' ;;"
        for command in commands
    )
    names = " ".join(command.name for command in commands)
    return f"""_slipway() {{
  local words current="${{COMP_WORDS[COMP_CWORD]}}"
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words='{names} --help --version'; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _slipway slipway"""


def build_zsh(commands: list[Command]) -> str:
    """The same with descriptions."""
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
  case "$words[2]" in
{cases}
  esac
}}
compdef _slipway slipway"""


def _zsh_arguments(command: Command) -> list[str]:
    options = [f"'{name}[{text}]'" for name, text in command.options]
    return [*options, f"'*:word:({' '.join(command.words)})'" if command.words else "'*:file:_files'"]


def build_fish(commands: list[Command]) -> str:
    """The same for fish."""
    lines = [
        f"complete -c slipway -n __fish_use_subcommand -f -a {command.name} -d '{command.help}'"
        for command in commands
    ]
    for command in commands:
        inside = f"complete -c slipway -n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"{inside} {_fish_option(name)} -d '{text}'" for name, text in command.options]
        lines += [f"{inside} -f -a '{' '.join(command.words)}'"] if command.words else []
    return "\n".join(lines)


def _fish_option(name: str) -> str:
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
