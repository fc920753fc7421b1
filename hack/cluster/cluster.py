#!/usr/bin/env python3
"""The local cluster's command line, one function a verb; called by make and by people.

Run it with the virtual environment's Python, as root: ``.venv/bin/python hack/cluster/cluster.py up``.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from hack.cluster import components, doctor, images, layout, probe, remains, supervise, tools, up

LOCK = Path("/run/lock/slipway-cluster")
ELSEWHERE = "use an existing cluster instead: make demo CONTEXT=name"


def say(text: str) -> None:
    """Tell the person what happens."""
    print(f"  {text}", flush=True)


def usable() -> str:
    """Why this machine or user can't run the cluster; "" when it can."""
    if platform.system() != "Linux":
        return f"the local cluster needs Linux, this is {platform.system()}; {ELSEWHERE}"
    if os.geteuid() != 0:
        return f"the local cluster needs root (it makes mounts, cgroups and a bridge); {ELSEWHERE}"
    return ""


@contextmanager
def alone() -> Iterator[None]:
    """Only one command changes the machine's cluster at a time, whatever the checkout."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another cluster command on this machine")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run_up(options: argparse.Namespace) -> int:
    """Start or heal the cluster."""
    with alone():
        seconds = up.up(say, metrics=options.metrics or up.had_metrics())
    print(f"cluster is up ({seconds:.1f} s); kubeconfig: {layout.KUBECONFIG}")
    return 0


def run_down(options: argparse.Namespace) -> int:
    """End the cluster and remove its data."""
    with alone():
        owner, found = remains.read_owner(), remains.find()
        if not found:
            print("no cluster on this machine")
            return 0
        if owner and not owner.ours and owner.there and not options.force:
            if options.ours:
                return 0
            print(
                f"the cluster belongs to {owner.checkout}: run make cluster-down there, or down --force here"
            )
            return 1
        remains.clear(found, owner, say)
        layout.KUBECONFIG.unlink(missing_ok=True)
    print("cluster is down")
    return 0


def run_status(_options: argparse.Namespace) -> int:
    """Print each program's state."""
    states = supervise.states()
    if not states:
        print("the cluster does not run: make cluster")
        return 1
    for name, state in states.items():
        print(f"{name:26} {state}")
    return 0 if set(states.values()) <= supervise.RUNNING else 1


def run_doctor(_options: argparse.Namespace) -> int:
    """Print what is wrong and what to do."""
    findings = doctor.examine(usable())
    for finding in findings:
        print(finding)
    return 1 if any(finding.bad for finding in findings) else 0


def run_preflight(_options: argparse.Namespace) -> int:
    """Print what would stop the cluster later; says nothing when nothing would."""
    findings = [finding for finding in doctor.before() if finding.bad]
    for finding in findings:
        print(finding, file=sys.stderr)
    if findings:
        print(f"nothing was built or started; or {ELSEWHERE}", file=sys.stderr)
    return 1 if findings else 0


def require_running() -> None:
    """Raise ClusterError unless this machine's cluster runs and is ours."""
    owner = remains.read_owner()
    if not owner or not owner.ours or not supervise.pid():
        raise up.ClusterError("the cluster does not run: make cluster")


def run_load(options: argparse.Namespace) -> int:
    """Import archives; prints each image by digest."""
    require_running()
    store = images.Store(tools.ensure(["ctr"])["ctr"])
    for archive in options.archives:
        for image, new in store.load(archive, options.name):
            print(f"{image.tagged}  {image.pinned}  {'imported' if new else 'was there'}", flush=True)
    return 0


def run_service(options: argparse.Namespace) -> int:
    """Add, replace or remove a program that runs beside the cluster."""
    path = layout.PROGRAMS / f"{options.name}.conf"
    if options.name in {*up.PROGRAMS, "metrics-server"}:
        raise up.ClusterError(f"{options.name} is a program of the cluster itself: choose another name")
    require_running()
    with alone():
        if options.action == "remove":
            path.unlink(missing_ok=True)
            supervise.update()
            return 0
        pairs = tuple((key, value) for key, _, value in (entry.partition("=") for entry in options.env))
        program = components.Program(options.name, tuple(options.command), pairs)
        text = supervise.section(program, layout.LOGS, autostart=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        supervise.update()
        supervise.run(options.name)
    print(f"{options.name} runs: {shlex.join(options.command)}; log: {layout.LOGS / options.name}.log")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description="a real Kubernetes on this machine")
    verbs = made.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("up", help="start the cluster, or heal it")
    verb.add_argument("--metrics", action="store_true", help="with metrics-server (autoscaling, kubectl top)")
    verb.set_defaults(run=run_up)
    verb = verbs.add_parser("down", help="end the cluster and remove its data")
    verb.add_argument("--force", action="store_true", help="also when another checkout started it")
    verb.add_argument("--ours", action="store_true", help="leave another checkout's cluster without a word")
    verb.set_defaults(run=run_down)
    verbs.add_parser("status", help="each program's state").set_defaults(run=run_status)
    verbs.add_parser("doctor", help="what is wrong and what to do").set_defaults(run=run_doctor)
    verbs.add_parser("preflight", help="what would stop it later").set_defaults(run=run_preflight)
    verb = verbs.add_parser("load", help="import OCI archives into the node")
    verb.add_argument("archives", nargs="+", type=Path)
    verb.add_argument("--name", default="", help="repository:tag, where the archive names none")
    verb.set_defaults(run=run_load)
    verb = verbs.add_parser("service", help="service add NAME [--env K=V] -- COMMAND… | service remove NAME")
    verb.add_argument("action", choices=("add", "remove"))
    verb.add_argument("name")
    verb.add_argument("--env", action="append", default=[], help="KEY=VALUE, several times")
    verb.set_defaults(run=run_service)
    return made


def main(arguments: list[str]) -> int:
    """Entry point; returns the process's exit status."""
    command: list[str] = []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, command = arguments[:cut], arguments[cut + 1 :]
    options = parser().parse_args(arguments)
    options.command = command
    reason = usable()
    if reason and options.verb != "doctor":
        print(reason, file=sys.stderr)
        return 2
    try:
        status: int = options.run(options)
    except (up.ClusterError, probe.NotReadyError, images.ImageError, tools.BuildError, OSError) as error:
        print(f"{error}\n  next: .venv/bin/python hack/cluster/cluster.py doctor", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
