"""Short pods of the tests' own, as restricted as the namespaces of users demand."""

from __future__ import annotations

from typing import Any

from tests.cluster.namespaces import SYSTEM, Cluster


def runtime_image() -> str:
    """Image of the Jobs, which has Python, as the operator was told it."""
    operator = SYSTEM.get("deploy", "slipway")
    env = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    return next(str(one["value"]) for one in env if one["name"] == "SLIPWAY_IMAGE_RUNTIME")


def restricted_pod(name: str, image: str, *command: str) -> dict[str, Any]:
    """A pod that PSS restricted admits, and that runs the command once."""
    container = {
        "name": name,
        "image": image,
        "command": list(command),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def wait_ended(cluster: Cluster, name: str) -> str:
    """Wait for the pod's end; ``Succeeded`` or ``Failed``."""

    def ended() -> str:
        phase = cluster.get("pods", name).get("status", {}).get("phase", "")
        return phase if phase in {"Succeeded", "Failed"} else ""

    return str(cluster.wait(f"the end of pod {name}", ended))
