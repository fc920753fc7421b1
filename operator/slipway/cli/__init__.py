"""The subcommands, a file each: ``add_parser(subparsers)``, ``run(args) -> int``. Called by ``__main__``.

The file's name is the subcommand's. Heavy imports belong inside ``run``, so that ``slipway --help`` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

from slipway import __version__
from slipway.errors import SlipwayError

OK = 0
FINDINGS = 1
USAGE = 2
EXIT_CODES = """exit codes:
  0  done, nothing to report
  1  done, something was found (a mistake, a difference, a plan that does not fit), or the work failed
  2  the command line is wrong, or a file can't be read"""


class UsageError(SlipwayError):
    """What was asked can't be done as asked: a file is missing, two options exclude each other."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; a subcommand is a module of this folder."""
    parser = argparse.ArgumentParser(
        prog="slipway",
        description="Puts language models into production on Kubernetes.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"slipway {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        module.add_parser(subparsers)
        added = subparsers.choices[name]
        added.set_defaults(run=module.run)
        added.epilog = added.epilog or EXIT_CODES
        added.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def dispatch(argv: Sequence[str]) -> int:
    """Run the subcommand; returns its exit code, errors are one line on stderr."""
    args = build_parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except UsageError as error:
        return _fail(args.command, str(error), USAGE)
    except SlipwayError as error:
        return _fail(args.command, str(error), FINDINGS)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(args.command, f"{where}{error.strerror or error}", USAGE)
    except KeyboardInterrupt:
        return 130
    return code


def _fail(command: str, message: str, code: int) -> int:
    print(f"slipway {command}: {message}", file=sys.stderr)
    return code
