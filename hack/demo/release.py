"""What is there of the Helm release: half of it, or somebody else's; called before it is installed.

Helm keeps each revision in a Secret, whose labels say all that is asked here. Standard library only, and no
Python newer than 3.9: on-context.sh runs it on people's own machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

NAME, NAMESPACE = "slipway", "slipway-system"
MADE_BY = ("made-by", "slipway-demo")  # the label that on-context.sh gives to the releases that it makes
PENDING = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})
PATIENCE_S = 30.0  # our Helm waits for no pod: it writes twenty objects


class ReleaseError(Exception):
    """The release can't be installed; the message says why and what to do."""


@dataclass(frozen=True)
class Revision:
    """One revision: its Secret, its number, Helm's word for its state, when that changed (epoch), by whom."""

    secret: str
    number: int
    status: str
    changed: float
    ours: bool


def latest(kubectl: list[str]) -> Revision | None:
    """The last revision; None without a release. ``kubectl`` is the command up to the cluster's choice."""
    listed = _run(
        [*kubectl, "get", "secrets", "-n", NAMESPACE, "-l", f"owner=helm,name={NAME}", "-o", "json"]
    )
    revisions = [_revision(item["metadata"]) for item in json.loads(listed)["items"]]
    last = max(revisions, key=lambda each: each.number, default=None)
    return last if last and last.status != "uninstalled" else None


def _revision(meta: dict[str, Any]) -> Revision:
    labels = meta["labels"]
    changed = float(labels.get("modifiedAt") or labels.get("createdAt") or 0)
    ours = labels.get(MADE_BY[0]) == MADE_BY[1]
    return Revision(meta["name"], int(labels["version"]), labels["status"], changed, ours)


def recover(kubectl: list[str]) -> None:
    """Forget a revision whose Helm was killed: while it is pending, Helm refuses every other.

    Only Helm's note of it goes. What it wrote carries the release's name: the next install takes it over.
    """
    limit, said = time.monotonic() + PATIENCE_S, False
    while (found := latest(kubectl)) and found.status in PENDING:
        if time.time() - found.changed > PATIENCE_S or time.monotonic() > limit:
            _run([*kubectl, "delete", "secret", found.secret, "-n", NAMESPACE])
            print(f"release {NAME}: a killed Helm left revision {found.number} {found.status}: forgotten")
            return
        if not said:
            print(f"release {NAME} is {found.status}: waiting for the Helm that may work on it", flush=True)
            said = True
        time.sleep(1)


def spare(kubectl: list[str], context: str) -> None:
    """Raise ReleaseError for a release that the demo did not make, unless OVERWRITE is set."""
    found = latest(kubectl)
    if not found or found.ours or os.environ.get("OVERWRITE"):
        return
    raise ReleaseError(
        f"context {context} has a release {NAME} that this demo did not make"
        f" (revision {found.number}, {found.status})\n"
        f"  to use it as it is:  python3 hack/demo/demo.py --context {context}\n"
        f"  to overwrite it:     make demo CONTEXT={context} OVERWRITE=1\n"
        f"                       its own values are lost: helm --kube-context {context} get values {NAME}"
        f" -n {NAMESPACE}"
    )


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def main(context: str) -> int:
    """Make the way free for an install on that context; returns the exit code."""
    kubectl = ["kubectl", "--context", context]
    try:
        spare(kubectl, context)
        recover(kubectl)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
