"""Starts and ends the demo's hub as a program of the local cluster; called by hack/demo and by hand.

`python hack/hub/hub.py up` builds the repositories once, has the cluster's supervisor keep the server running
on the node's address, and waits until it answers; again is fine. `down` ends it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hack.cluster import host, layout  # noqa: E402 - this file is a program, run by its path
from hack.hub.cache import key_of  # noqa: E402 - the same
from hack.hub.repos import DEMO, demo_root  # noqa: E402 - the same

PUBLIC = "{}:{}".format(*layout.HUB)
ADMIN = "{}:{}".format(*layout.HUB_ADMIN)
CLUSTER = [sys.executable, str(ROOT / "hack/cluster/cluster.py")]
NAME = "hub"
PATIENCE_S = 60.0
# The hub is on this machine: never behind the environment's proxy.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def up() -> int:
    """Start the hub; returns the exit status."""
    if taken := strangers():
        print("\n".join(taken), file=sys.stderr)
        return 1
    root = demo_root()
    server = [
        sys.executable,
        "-m",
        "hack.hub.server",
        "--bind",
        PUBLIC,
        "--admin",
        ADMIN,
        "--root",
        str(root),
    ]
    # The code's hash is in the program's environment, so that other code is a restart.
    code = f"SLIPWAY_HUB_CODE={key_of(sorted(Path(__file__).parent.glob('*.py')))}"
    service = [*CLUSTER, "service", "add", NAME, "--env", f"PYTHONPATH={ROOT}", "--env", code, "--", *server]
    if subprocess.run(service, cwd=ROOT, check=False).returncode:
        print("hub: it runs beside the local cluster: `make cluster` first", file=sys.stderr)
        return 1
    limit = time.monotonic() + PATIENCE_S
    while not (clear_faults() and answers(root)):
        if time.monotonic() > limit:
            print(f"hub: no answer on http://{PUBLIC}; read .cluster/log/{NAME}.log", file=sys.stderr)
            return 1
        time.sleep(0.2)
    print(f"hub: http://{PUBLIC} serves {DEMO}")
    return 0


def down() -> int:
    """End the hub; returns the exit status."""
    return subprocess.run([*CLUSTER, "service", "remove", NAME], cwd=ROOT, check=False).returncode


def strangers() -> list[str]:
    """A line for each process, other than the cluster's own, that holds one of the hub's ports."""
    return [
        f"hub: {line}: end it first"
        for address, port in (layout.HUB, layout.HUB_ADMIN)
        for line in host.strangers({port: "the hub"}, frozenset({address}), layout.MARK)
    ]


def clear_faults() -> bool:
    """End the faults that a killed test left; False while the hub can't be asked."""
    request = urllib.request.Request(f"http://{ADMIN}/faults", method="DELETE")
    try:
        DIRECT.open(request, timeout=5).close()
    except OSError:
        return False
    return True


def answers(root: Path) -> bool:
    """Tell whether the hub serves that folder now, on its public address too."""
    try:
        with DIRECT.open(f"http://{ADMIN}/healthz", timeout=5) as answer:
            serving = json.load(answer)["root"]
        with DIRECT.open(f"http://{PUBLIC}/api/models/{DEMO}", timeout=30) as answer:
            return bool(answer.status == 200 and serving == str(root))  # noqa: PLR2004 - HTTP's OK
    except (OSError, ValueError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    actions = {"up": up, "down": down}
    if sys.argv[1:] not in (["up"], ["down"]):
        sys.exit("usage: hub.py up|down")
    sys.exit(actions[sys.argv[1]]())
