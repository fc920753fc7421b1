"""A pod of our own images on the demo's cluster, in which benchmarks run the bare tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "slipway-demo"
KUBECTL = [
    str(ROOT / ".venv/bin/kubectl"),
    "--kubeconfig",
    str(ROOT / ".cluster/kubeconfig"),
    "-n",
    NAMESPACE,
]


def kubectl(*args: str, stdin: str | None = None) -> str:
    """Run kubectl in the demo's namespace; returns its output."""
    done = subprocess.run([*KUBECTL, *args], capture_output=True, text=True, check=False, input=stdin)
    if done.returncode:
        raise RuntimeError(
            f"kubectl {' '.join(args)}: {done.stderr.strip()} (is the demo up? run 'make demo')"
        )
    return done.stdout


def image(role: str) -> str:
    """The image of that role, by digest, as it was built here."""
    known: dict[str, dict[str, str]] = {}
    for record in ("images.json", "engine-images.json"):
        path = ROOT / ".cluster" / record
        known |= json.loads(path.read_text()) if path.exists() else {}
    entry = known[role]
    return f"{entry['ref'].rsplit(':', 1)[0]}@{entry['digest']}"


def artifact(level: str) -> dict[str, Any]:
    """The demo's artifact of that level."""
    items = json.loads(kubectl("get", "modelartifacts.slipway.dev", "-o", "json"))["items"]
    found = [dict(one) for one in items if one["spec"]["recipe"].get("level", "source") == level]
    if not found:
        raise LookupError(f"no ModelArtifact of {level} in {NAMESPACE}: make demo builds it")
    return found[0]


class Pod:
    """A pod that sleeps, with one claim mounted read-only; ``run`` executes a shell script in it."""

    def __init__(self, name: str, role: str, claim: str, mount: str) -> None:
        restricted = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {
            "name": "bare",
            "image": image(role),
            "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 1800 & wait"],
            "securityContext": restricted,
            "volumeMounts": [
                {"name": "claim", "mountPath": mount, "readOnly": True},
                {"name": "store", "mountPath": "/store"},
                {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - vLLM refuses the runtime's 64 MiB
                {"name": "store", "mountPath": "/tmp", "subPath": "tmp"},  # noqa: S108 - in the pod
            ],
        }
        volumes = [
            {"name": "claim", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "store", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ]
        self.name = name
        self.manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "containers": [container],
                "volumes": volumes,
                "restartPolicy": "Never",
                "securityContext": {"fsGroup": 65532, "runAsUser": 65532},
            },
        }

    def __enter__(self) -> Self:
        """Create it and wait until it runs."""
        kubectl("delete", "pod", self.name, "--ignore-not-found", "--grace-period=1")
        kubectl("apply", "-f", "-", stdin=json.dumps(self.manifest))
        kubectl("wait", f"pod/{self.name}", "--for=condition=Ready", "--timeout=120s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete it."""
        kubectl("delete", "pod", self.name, "--ignore-not-found", "--wait=false", "--grace-period=1")

    def run(self, script: str) -> str:
        """Run a shell script in the pod; returns its output."""
        return kubectl("exec", self.name, "--", "sh", "-ec", script)
