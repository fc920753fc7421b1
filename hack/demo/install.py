"""Load the images into the local cluster, start the model hub, install the chart; can be repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HUB = "http://198.18.0.1:8090"
KUBECONFIG = ROOT / ".cluster/kubeconfig"


def main() -> int:
    """Install; returns the exit code."""
    images = json.loads((ROOT / ".cluster/images.json").read_text())
    archives = [entry["archive"] for entry in images.values()]
    step("loading images", [sys.executable, "hack/cluster/cluster.py", "load", *archives])
    step("starting the model hub", [sys.executable, "hack/hub/hub.py", "up"])
    step("helm upgrade --install slipway", helm(images))
    ready = kubectl("rollout", "status", "deploy/slipway", "-n", "slipway-system", "--timeout=180s")
    step("waiting for the operator", ready)
    return 0


def step(what: str, command: list[str]) -> None:
    """Say what starts, run it, stop with its own words if it fails."""
    print(f"== {what}", flush=True)
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        print(f"failed: {what} (exit {done.returncode}): {' '.join(command)}", file=sys.stderr)
        print("next: make cluster-doctor; logs are in .cluster/log/", file=sys.stderr)
        raise SystemExit(done.returncode)


def kubectl(*args: str) -> list[str]:
    """A kubectl command line for the local cluster."""
    return [str(ROOT / ".venv/bin/kubectl"), "--kubeconfig", str(KUBECONFIG), *args]


def helm(images: dict[str, dict[str, str]]) -> list[str]:
    """The Helm command line: the chart with this machine's images by digest, and the small hub."""
    binary = os.environ.get("SLIPWAY_HELM") or str(ROOT / ".cluster/bin/helm")
    command = [
        binary, "upgrade", "--install", "slipway", "charts/slipway", "--namespace", "slipway-system",
        "--create-namespace", "--kubeconfig", str(KUBECONFIG), "--set", f"hub.endpoint={HUB}",
    ]  # fmt: skip
    for role in ("operator", "runtime", "llamacpp"):
        command += ["--set", f"images.{role}.digest={images[role]['digest']}"]
    return command


if __name__ == "__main__":
    sys.exit(main())
