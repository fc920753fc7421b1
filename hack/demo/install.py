"""Load the images into the local cluster, start the model hub, install the chart; can be repeated.

``--engines`` loads the images of ``make engine-images`` too and tells the chart of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hack.cluster import layout  # noqa: E402 - this file is a program, run by its path
from hack.demo import release  # noqa: E402 - the same

HUB = "http://{}:{}".format(*layout.HUB)
REGISTRY = "http://{}:{}".format(*layout.REGISTRY)
KUBECONFIG = ROOT / ".cluster/kubeconfig"
NEXT = "next: make cluster-doctor; logs are in .cluster/log/"


def main() -> int:
    """Install; returns the exit code."""
    images = json.loads((ROOT / ".cluster/images.json").read_text())
    engines = (
        json.loads((ROOT / ".cluster/engine-images.json").read_text()) if "--engines" in sys.argv else {}
    )
    archives = [entry["archive"] for entry in (*images.values(), *engines.values())]
    step("loading images", [sys.executable, "hack/cluster/cluster.py", "load", *archives])
    step("starting the model hub", [sys.executable, "hack/hub/hub.py", "up"])
    try:
        release.recover(kubectl())
    except release.ReleaseError as error:
        print(f"failed: reading the Helm release: {error}\n{NEXT}", file=sys.stderr)
        return 1
    step("helm upgrade --install slipway", helm(images, engines))
    ready = kubectl("rollout", "status", "deploy/slipway", "-n", "slipway-system", "--timeout=180s")
    step("waiting for the operator", ready)
    return 0


def step(what: str, command: list[str]) -> None:
    """Say what starts, run it, stop with its own words if it fails."""
    print(f"== {what}", flush=True)
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        print(f"failed: {what} (exit {done.returncode}): {' '.join(command)}", file=sys.stderr)
        print(NEXT, file=sys.stderr)
        raise SystemExit(done.returncode)


def kubectl(*args: str) -> list[str]:
    """A kubectl command line for the local cluster."""
    return [str(ROOT / ".venv/bin/kubectl"), "--kubeconfig", str(KUBECONFIG), *args]


def helm(images: dict[str, dict[str, str]], engines: dict[str, dict[str, str]]) -> list[str]:
    """The Helm command line: the chart with this machine's images by digest, and the small hub."""
    binary = os.environ.get("SLIPWAY_HELM") or str(ROOT / ".cluster/bin/helm")
    command = [
        binary, "upgrade", "--install", "slipway", "charts/slipway", "--namespace", "slipway-system",
        "--create-namespace", "--kubeconfig", str(KUBECONFIG), "--set", f"hub.endpoint={HUB}",
        "--set", f"store.endpoint={REGISTRY}",
    ]  # fmt: skip
    for role in ("operator", "runtime", "optimizer", "llamacpp"):
        command += ["--set", f"images.{role}.digest={images[role]['digest']}"]
    for name, entry in engines.items():
        repository = entry["ref"].rpartition(":")[0]
        command += ["--set", f"engineImages.{name}.cpu={repository}@{entry['digest']}"]
    return command


if __name__ == "__main__":
    sys.exit(main())
