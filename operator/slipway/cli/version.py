"""``slipway version``: the version, and that of what it was built for."""

from __future__ import annotations

import argparse
from typing import Any

from slipway.cli import OK, PRINTED, epilog


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    subparsers.add_parser(
        "version",
        help="print the version and the version of the API",
        description="Prints the version, and the version of the API that it serves.",
        epilog=epilog("  slipway version", PRINTED),
    )


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 - every subcommand has this shape
    """Print it."""
    from slipway import __version__
    from slipway.api import API_VERSION

    print(f"slipway {__version__}, API {API_VERSION}")
    return OK
