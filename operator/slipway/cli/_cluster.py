"""The cluster that a subcommand asks, and why there is nothing to read. For checklist, compare and export."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from slipway.errors import ApiError, SlipwayError

if TYPE_CHECKING:
    from slipway.endpoint import Endpoint

IN_A_POD = "KUBERNETES_SERVICE_HOST"
"""Set in every pod, where the service account stands in for a kubeconfig."""


class UnreadableError(SlipwayError):
    """There is nothing to read; the message says why and what to do."""


async def read_endpoint(args: argparse.Namespace, instead: str = "name one by --kubeconfig") -> Endpoint:
    """The cluster of the kubeconfig, or of the pod that this runs in.

    Args:
        args: with ``kubeconfig`` and ``context``.
        instead: what to do where there is no kubeconfig.

    Raises:
        UnreadableError: there is no kubeconfig, or it can't be read.
    """
    from slipway import endpoint

    named = _kubeconfig(args, instead)
    try:
        return await endpoint.read_endpoint(args.kubeconfig, args.context)
    except ApiError as error:
        raise UnreadableError(error.message) from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"{named} is no YAML: {' '.join(str(error).split())}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{named} is no kubeconfig: it lacks clusters, contexts or users") from error


def _kubeconfig(args: argparse.Namespace, instead: str) -> str:
    """The kubeconfig's file, or several as $KUBECONFIG names them; the client says not which is absent."""
    named = str(args.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config")
    found = any(Path(one).expanduser().is_file() for one in named.split(os.pathsep))
    if not found and (args.kubeconfig or not os.environ.get(IN_A_POD)):
        raise UnreadableError(f"no Kubernetes API to talk to: there is no file {named}; {instead}")
    return named


def no_whole(model: dict[str, Any]) -> None:
    """Refuse what only the pools of a model have.

    Raises:
        UnreadableError: it has pools; the message names their ModelDeployments.
    """
    pools = (model.get("status") or {}).get("pools") or ()
    if pools:
        names = ", ".join(str(one["modelDeployment"]) for one in pools)
        raise UnreadableError(f"{model['metadata']['name']} has pools: ask for one of them ({names})")


def unreadable(error: ApiError, server: str, name: str) -> UnreadableError:
    """What the API server's answer about this object means for a person, or that there is no answer."""
    if error.status:
        return UnreadableError(f"{name}: {error.message} ({error.status} {error.reason})")
    hint = "is the cluster running, and is this the right --context?"
    return UnreadableError(f"no answer from {server}: {cause_of(error)}; {hint}")


def cause_of(error: ApiError) -> str:
    """Why there is no answer, in the system's own words: the client's hold its objects."""
    cause: Any = error.__cause__
    inner = getattr(cause, "certificate_error", None) or getattr(cause, "os_error", None) or cause
    number = getattr(inner, "errno", None)
    if isinstance(inner, ConnectionError) and number:
        return os.strerror(number).lower()
    return getattr(inner, "strerror", None) or str(inner or "") or error.message


def namespace_of(args: argparse.Namespace) -> str:
    """Namespace of the chosen context, as kubectl takes it; ``default`` when none is set."""
    from kubernetes.aio import config

    untyped: Any = config
    try:
        contexts, active = untyped.list_kube_config_contexts(args.kubeconfig)
    except config.ConfigException:
        return "default"
    chosen = next((one for one in contexts if one["name"] == args.context), active)
    return str(chosen["context"].get("namespace") or "default")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which model of which cluster is meant; NAME may be left out where a file is read."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="ModelDeployment")
    parser.add_argument("-n", "--namespace", help="its namespace (the context's)")
    parser.add_argument("--context", help="context of the kubeconfig (the current one)")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="kubeconfig file ($KUBECONFIG, else ~/.kube/config)"
    )
