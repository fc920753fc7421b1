"""The command ``slipway``: picks the subcommand. Called by the shell, also as ``python -m slipway``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from slipway.cli import dispatch


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns its exit code."""
    return dispatch(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
