"""The subcommands, a file each: ``add_parser(subparsers)``, ``run(args) -> int``. Called by ``__main__``.

The file's name is the subcommand's; a name that begins with ``_`` is what several of them share. Heavy
imports belong inside ``run``, so that ``slipway --help`` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import shutil
import sys
import textwrap
from collections.abc import Sequence

from slipway import __version__
from slipway.errors import ApiError, SlipwayError

OK = 0
FINDINGS = 1
USAGE = 2
INTERRUPTED = 130
"""What a shell says of a program that Ctrl-C ended: 128 and the signal's number."""
EXIT_CODES = """\
  0  done, nothing to report
  1  something was found (a mistake, a difference, no plan), or the work failed
  2  the command line is wrong, or a file can't be read"""
PRINTED = """\
  0  printed
  2  the command line is wrong"""
EXAMPLES = """\
  slipway check model.yaml              every mistake of the file at once
  slipway plan model.yaml --model DIR   what would be decided
  slipway checklist NAME                is the model fit for production?
  slipway compare NAME                  what would another level cost?
  slipway COMMAND --help                more, with examples"""
LEAST_WIDTH = 60
"""Narrower terminals get lines of this width: a column of a few letters is the harder one to read."""


class UsageError(SlipwayError):
    """What was asked can't be done as asked: a file is missing, two options exclude each other."""


class HelpFormatter(argparse.HelpFormatter):
    """Wraps descriptions, keeps the lines of examples, and lists subcommands as options are listed."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse offers no other way
            return "".join(self._format_action(each) for each in action._get_subactions())  # noqa: SLF001
        return super()._format_action(action)


def epilog(examples: str, exit_codes: str = EXIT_CODES) -> str:
    """What stands under the options: examples, then the exit codes."""
    return f"examples:\n{examples}\n\nexit codes:\n{exit_codes}"


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; a subcommand is a module of this folder."""
    parser = argparse.ArgumentParser(
        prog="slipway",
        description="Puts language models into production on Kubernetes.",
        epilog=epilog(EXAMPLES),
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"slipway {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        if name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{name}")
        module.add_parser(subparsers)
        added = subparsers.choices[name]
        added.set_defaults(run=module.run)
        added.formatter_class = HelpFormatter
    return parser


def dispatch(argv: Sequence[str]) -> int:
    """Run the subcommand; returns its exit code, errors are one line on stderr."""
    args = build_parser().parse_args(argv or ["--help"])
    try:
        code: int = args.run(args)
        print(end="", flush=True)  # also where standard output is closed
    except SlipwayError as error:
        # Without an answer there is no status: its 0 would tell a person nothing.
        words = error.message if isinstance(error, ApiError) and not error.status else str(error)
        return complain(args.command, words, USAGE if isinstance(error, UsageError) else FINDINGS)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return complain(args.command, f"{where}{error.strerror or error}", USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def complain(command: str, message: str, code: int = FINDINGS) -> int:
    """Say one line on standard error; returns the code."""
    print(f"slipway {command}: {message}", file=sys.stderr)
    return code


def terminal_width() -> int:
    """Columns of the terminal that reads standard output; 0 for a file or a pipe, which gets whole lines."""
    return max(LEAST_WIDTH, shutil.get_terminal_size().columns) if sys.stdout and sys.stdout.isatty() else 0


def wrap(line: str, width: int, indent: int) -> list[str]:
    """The line in lines of this width, the later ones indented; whole when the width is 0."""
    if not width or len(line) <= width:
        return [line]
    inner = textwrap.wrap(line[indent:], width - indent, break_on_hyphens=False, break_long_words=False)
    return [line[:indent] + inner[0], *(" " * indent + each for each in inner[1:])]
