"""Every rendered object is accepted by a real API server, strictly, where PSS restricted is enforced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import drift
from tests.support.control_plane import Api

pytestmark = pytest.mark.api
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "render" / "output"
FILES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@pytest.fixture(scope="module")
def namespace(api: Api) -> str:
    """A namespace that enforces the restricted Pod Security Standard."""
    name = "manifests"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    api.must("apply", "--server-side", "-f", "-", stdin=body)
    # Pods are admitted only once their service account is there.
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": name},
    }
    api.must("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=account)
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
    body = {**priority, "metadata": {"name": "production"}}
    api.must("apply", "--server-side", "-f", "-", stdin=body)
    return name


def objects(name: str, namespace: str) -> list[dict[str, Any]]:
    found = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    for one in found:
        one["metadata"]["namespace"] = namespace
    return found


def pods(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pods that Deployments and Jobs will make: admission refuses nothing but pods."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**one["spec"]["template"]["metadata"], **one["metadata"], "labels": {}},
            "spec": one["spec"]["template"]["spec"],
        }
        for one in found
        if one["kind"] in {"Deployment", "Job"}
    ]


@pytest.mark.parametrize("name", FILES)
def test_accepted_strictly_and_restricted(api: Api, namespace: str, name: str) -> None:
    found = objects(name, namespace)
    assert len(found) > 10
    body = {"apiVersion": "v1", "kind": "List", "items": [*found, *pods(found)]}
    flags = ["--server-side", "--dry-run=server", "--validate=strict", "--field-manager=slipway"]
    done = api.kubectl("apply", *flags, "-f", "-", stdin=body)
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stderr


@pytest.mark.parametrize("name", FILES)
def test_quantities_and_defaults_come_back_as_they_were_sent(api: Api, namespace: str, name: str) -> None:
    """What the server writes differently would be applied again by every pass."""
    built = next(one for one in objects(name, namespace) if one["kind"] == "Deployment")
    deployment = drift.stamped(built)
    flags = ["--server-side", "--dry-run=server", "--field-manager=slipway", "-o", "yaml"]
    answered = yaml.safe_load(api.must("apply", *flags, "-f", "-", stdin=deployment))
    assert differences(deployment["spec"], answered["spec"]) == []
    assert drift.settled(deployment, answered)


def differences(wished: Any, seen: Any, path: str = "spec") -> list[str]:
    """Paths whose wished value is not what is seen; more fields on the server's side are its defaults."""
    if isinstance(wished, dict):
        return [
            found
            for key, value in wished.items()
            for found in differences(value, (seen or {}).get(key), f"{path}.{key}")
        ]
    if isinstance(wished, list) and isinstance(seen, list) and len(wished) == len(seen):
        pairs = enumerate(zip(wished, seen, strict=True))
        return [
            found for index, (one, other) in pairs for found in differences(one, other, f"{path}[{index}]")
        ]
    left_out = wished is False and seen is None  # a false without a default of the server's
    return [] if wished == seen or left_out else [f"{path}: {wished!r} is {seen!r}"]
