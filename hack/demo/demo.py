"""The demo: apply a ModelDeployment, show what happens, ask the model, say where to look next."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hack.demo import question  # noqa: E402 - this file is a program, run by its path

NAMESPACE = "slipway-demo"
CONDITIONS = ("SourceResolved", "Planned", "ArtifactReady", "Available", "ChecklistPassed", "Ready")
SILENCE_S = 15.0
NEAR = "198.18.0.1,198.18.0.0/15,127.0.0.1"  # the local cluster, which no proxy reaches


class DemoError(Exception):
    """The demo can't go on; the message is what went wrong, in the words of whoever said so."""


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--context", default="", help="kubeconfig context; default: the local cluster")
    parser.add_argument("--file", type=Path, default=ROOT / "examples/smollm2.yaml")
    parser.add_argument("--name", default="smollm2")
    parser.add_argument("--timeout", type=int, default=1500, help="seconds to wait for Ready")
    args = parser.parse_args()
    kubectl = Kubectl(args.context)
    try:
        kubectl.apply(namespace_manifest())
        kubectl.run("apply", "-n", NAMESPACE, "-f", str(args.file))
        print(f"applied {args.file.relative_to(ROOT) if args.file.is_relative_to(ROOT) else args.file}\n")
        watch(kubectl, args.name, args.timeout)
        ask(kubectl, args.name)
        where_next(kubectl, args.name)
    except DemoError as error:
        print(f"\n{error}\n{what_to_look_at(kubectl, args.name)}", file=sys.stderr)
        return 1
    return 0


class Kubectl:
    """kubectl against one cluster."""

    def __init__(self, context: str) -> None:
        self.context = context
        own = ROOT / ".venv/bin/kubectl"
        program = str(own) if own.exists() else "kubectl"
        where = ["--context", context] if context else ["--kubeconfig", str(ROOT / ".cluster/kubeconfig")]
        self.base = [program, *where]

    @property
    def typed(self) -> str:
        """The same command as a person types it in the checkout."""
        if self.context:
            return f"kubectl --context {self.context}"
        return ".venv/bin/kubectl --kubeconfig .cluster/kubeconfig"

    def run(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl; returns its output, raises DemoError with its error."""
        done = subprocess.run([*self.base, *args], capture_output=True, text=True, check=False, input=stdin)
        if done.returncode:
            raise DemoError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object in the demo's namespace; empty when it is not there."""
        out = self.run("get", kind, name, "-n", NAMESPACE, "--ignore-not-found", "-o", "json")
        return dict(json.loads(out)) if out.strip() else {}

    def apply(self, manifest: dict[str, Any]) -> None:
        """Server-side apply of one object."""
        self.run("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))


def namespace_manifest() -> dict[str, Any]:
    """A namespace that enforces the restricted Pod Security Standard."""
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def watch(kubectl: Kubectl, name: str, timeout: float) -> None:
    """Print every change and a sign of life every 15 s until the checklist is done.

    Raises DemoError at a failure that the operator will not try again, and after the timeout (seconds).
    """
    start, said, last = time.monotonic(), "", 0.0
    while (elapsed := time.monotonic() - start) < timeout:
        mdl, line = look(kubectl, name)
        if line != said or elapsed - last > SILENCE_S:
            print(f"  {int(elapsed) // 60:2d}:{int(elapsed) % 60:02d}  {line}", flush=True)
            said, last = line, elapsed
        if message := failure(mdl):
            raise DemoError(f"this will not get better by itself: {message}")
        if settled(mdl):
            return
        time.sleep(0.5)
    raise DemoError(f"not ready after {timeout:.0f} s: {said}")


def look(kubectl: Kubectl, name: str) -> tuple[dict[str, Any], str]:
    """The ModelDeployment and one line about it; an API server that fails now may answer soon."""
    try:
        mdl = kubectl.get("modeldeployments.slipway.dev", name)
    except DemoError as error:
        return {}, str(error)
    return mdl, describe(mdl)


def describe(mdl: dict[str, Any]) -> str:
    """One line: what works now, or the Ready condition's words."""
    status = mdl.get("status", {})
    if status.get("progress"):
        return str(status["progress"])
    ready = condition(mdl, "Ready")
    return f"{ready.get('reason', 'Waiting')}: {ready.get('message', 'the operator has not seen it yet')}"


def condition(mdl: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of that type, or an empty one."""
    found = [c for c in mdl.get("status", {}).get("conditions", []) if c["type"] == kind]
    return dict(found[0]) if found else {}


def current(mdl: dict[str, Any]) -> bool:
    """Whether the status speaks of the spec as it is now."""
    generation = mdl.get("metadata", {}).get("generation")
    return bool(generation) and mdl.get("status", {}).get("observedGeneration") == generation


def failure(mdl: dict[str, Any]) -> str:
    """Words of a failure that stands until spec, credential or retry annotation changes; "" without one."""
    failed = mdl.get("status", {}).get("failure")
    return f"{failed['reason']}: {failed['message']}" if failed and current(mdl) else ""


def settled(mdl: dict[str, Any]) -> bool:
    """Ready, and the benchmark is done."""
    busy = mdl.get("status", {}).get("progress")
    return current(mdl) and condition(mdl, "Ready").get("status") == "True" and not busy


def what_to_look_at(kubectl: Kubectl, name: str) -> str:
    """The conditions, where they can be had, and the next things to try."""
    mdl, _ = look(kubectl, name)
    rows = [(kind, condition(mdl, kind)) for kind in CONDITIONS]
    lines = [f"  {kind}: {c['status']} {c.get('reason')} {c.get('message')}" for kind, c in rows if c]
    lines += [
        "look at:",
        f"  {kubectl.typed} describe mdl {name} -n {NAMESPACE}",
        f"  {kubectl.typed} get pods,jobs,events -n {NAMESPACE}",
        f"  {kubectl.typed} logs -n slipway-system deploy/slipway",
    ]
    return "\n".join(lines if kubectl.context else [*lines, "  make cluster-doctor"])


def ask(kubectl: Kubectl, name: str) -> None:
    """Ask the question through the Service: directly on the local cluster, elsewhere by a port-forward."""
    service = kubectl.get("service", name)
    if not service:
        raise DemoError(f"the Service {name} is gone: was the model deleted meanwhile?")
    port = service["spec"]["ports"][0]["port"]
    try:
        if kubectl.context:
            with question.forwarded(kubectl.base, name, NAMESPACE, port) as base:
                question.stream_answer(base, name)
        else:
            question.stream_answer(f"http://{service['spec']['clusterIP']}:{port}", name)
    except (OSError, ValueError) as error:
        raise DemoError(f"asking the model: {error}") from error


def where_next(kubectl: Kubectl, name: str) -> None:
    """Print the columns and the commands to go on with; each runs as it stands, in the checkout."""
    print("\n" + kubectl.run("get", "mdl,mart", "-n", NAMESPACE))
    print("where to look next:")
    print("\n".join(f"  {line}" for line in next_commands(kubectl, name)))


def next_commands(kubectl: Kubectl, name: str) -> list[str]:
    """The commands to go on with."""
    slipway = f"checklist {name} -n {NAMESPACE}"
    common = [
        f"{kubectl.typed} get mdl {name} -n {NAMESPACE} -o yaml  # plan, reasons, measured loss",
        f"{kubectl.typed} logs -n {NAMESPACE} deploy/{name}  # the engine",
        f"{kubectl.typed} logs -n slipway-system deploy/slipway  # the operator",
        f"{kubectl.typed} explain mdl.spec.optimize",
    ]
    if kubectl.context:
        return [
            *common,
            f"{kubectl.typed} exec -n slipway-system deploy/slipway -- slipway {slipway}",
            f"{kubectl.typed} delete namespace {NAMESPACE}  # end the model and remove its files",
        ]
    return [
        *past_proxy(os.environ),
        *common,
        f".venv/bin/python -m slipway {slipway} --kubeconfig .cluster/kubeconfig",
        "make clean  # stop everything",
    ]


def past_proxy(environment: Mapping[str, str]) -> list[str]:
    """What the shell needs first where a proxy is set: make says it to its own commands only."""
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    if not any(value and name.lower() in proxies for name, value in environment.items()):
        return []
    return [
        f'export NO_PROXY="{NEAR},${{NO_PROXY:-$no_proxy}}"; export no_proxy="$NO_PROXY"  # past the proxy'
    ]


if __name__ == "__main__":
    sys.exit(main())
