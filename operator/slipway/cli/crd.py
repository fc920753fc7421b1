"""``slipway crd``: writes the CRDs, or checks that the files are what the models say."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

from slipway.cli import FINDINGS, OK, UsageError, epilog

FOLDERS = ("crds", "charts/slipway/files/crds")
"""Where the repository keeps them; the chart can't reach outside its folder, so it has a copy."""
EXAMPLES = """\
  slipway crd --print | kubectl apply --server-side -f -
  slipway crd --check     in a checkout, after a change in operator/slipway/api"""
EXIT_CODES = """\
  0  written, printed, or nothing differs
  1  --check: a file differs from the models
  2  the command line is wrong, or this is no checkout"""
HEADER = "# Written by `slipway crd` from operator/slipway/api: edit those models, then run it again.\n"


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "crd",
        help="write, check or print the CustomResourceDefinitions",
        description="Without options: write all CRDs into the repository's folders.",
        epilog=epilog(EXAMPLES, EXIT_CODES),
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; say how the files differ")
    mode.add_argument(
        "--print", action="store_true", help="write nothing; print them, ready for kubectl apply"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), metavar="DIR", help="the repository (default: this folder)"
    )


def run(args: argparse.Namespace) -> int:
    """Write, print or check; returns 1 when a file differs."""
    files = _files()
    if args.print:
        print("---\n".join(files.values()), end="")
        return OK
    for folder in FOLDERS:
        if not (args.root / folder).is_dir():
            raise UsageError(f"{args.root / folder} is not a folder: name the repository with --root")
    targets = {args.root / folder / name: text for folder in FOLDERS for name, text in files.items()}
    if not args.check:
        for path, text in targets.items():
            path.write_text(text, encoding="utf-8")
            print(path)
        return OK
    differences = [line for path, text in targets.items() for line in _difference(path, text)]
    sys.stdout.writelines(differences)
    if differences:
        print("slipway crd: the files differ from the models: run slipway crd", file=sys.stderr)
    return FINDINGS if differences else OK


def _files() -> dict[str, str]:
    """File name to YAML, lines short enough to review."""
    import yaml

    from slipway.api.schema import build_crds

    return {
        name: HEADER + yaml.safe_dump(crd, sort_keys=False, width=110, allow_unicode=True)
        for name, crd in build_crds().items()
    }


def _difference(path: Path, wanted: str) -> list[str]:
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = difflib.unified_diff(
        found.splitlines(keepends=True), wanted.splitlines(keepends=True), str(path), "slipway crd"
    )
    return list(lines)
