"""``slipway run``: the operator itself, until SIGTERM. Called by the image's entrypoint."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
from contextlib import suppress
from typing import Any, Final

from slipway.cli import epilog
from slipway.cli._inputs import settings_or_refusal

EXAMPLES = """\
  slipway run                         in a pod, as the chart starts it
  slipway run --context kind-dev --no-leader-election --log-format text"""
EXIT_CODES = """\
  0  told to stop, and stopped
  1  leadership was lost, or there is no Kubernetes API to talk to
  2  the command line is wrong, or the port is taken"""
LAST_PORT = 65535
ARENAS: Final = -8
"""``M_ARENA_MAX`` of glibc's malloc.h."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "run",
        help="run the operator",
        description="Runs the operator until SIGTERM. Settings come from SLIPWAY_* variables.",
        epilog=epilog(EXAMPLES, EXIT_CODES),
    )
    parser.add_argument(
        "--kubeconfig", help="kubeconfig file (the pod's service account, else ~/.kube/config)"
    )
    parser.add_argument("--context", help="context of the kubeconfig")
    parser.add_argument(
        "--namespace",
        action="append",
        help="namespace to serve, may be repeated (SLIPWAY_WATCH_NAMESPACES, else all)",
    )
    parser.add_argument("--host", default="0.0.0.0", help="address of /healthz, /readyz, /metrics (all)")  # noqa: S104 - see serve.Options
    parser.add_argument("--port", type=_port, default=8080, help="their port (8080)")
    parser.add_argument(
        "--no-leader-election", action="store_true", help="work without a Lease: one replica only"
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="least level that is logged (info)",
    )
    parser.add_argument("--log-format", choices=("json", "text"), default="json", help="how to log (json)")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 (any free one) to {LAST_PORT}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run until told to stop; returns 1 when leadership was lost."""
    _one_arena()

    from dataclasses import replace

    from slipway import logging_
    from slipway.serve import Options, serve

    logging_.setup(args.log_level, args.log_format)
    settings = settings_or_refusal()
    if args.namespace:
        settings = replace(settings, watch_namespaces=tuple(args.namespace))
    options = Options(
        kubeconfig=args.kubeconfig,
        context=args.context,
        host=args.host,
        port=args.port,
        election=not args.no_leader_election,
    )
    return asyncio.run(serve(settings, options))


def _one_arena() -> None:
    """Have threads share memory: glibc would give each an arena of its own, which it keeps.

    The few threads hardly ever allocate at once. With 1,000 objects it saves 7 of 155 MB. Another C library
    has no such call, and no such arenas.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(ARENAS, 1)
