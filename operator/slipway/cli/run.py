"""``slipway run``: the operator itself, until SIGTERM. Called by the image's entrypoint."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "run",
        help="run the operator",
        description="Runs the operator until SIGTERM. Settings come from SLIPWAY_* variables.",
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
    parser.add_argument("--port", type=int, default=8080, help="their port (8080)")
    parser.add_argument(
        "--no-leader-election", action="store_true", help="work without a Lease: one replica only"
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.add_argument("--log-format", choices=("json", "text"), default="json")


def run(args: argparse.Namespace) -> int:
    """Run until told to stop; returns 1 when leadership was lost."""
    from dataclasses import replace

    from slipway import logging_
    from slipway.serve import Options, serve
    from slipway.settings import read_settings

    logging_.setup(args.log_level, args.log_format)
    settings = read_settings()
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
