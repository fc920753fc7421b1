"""Rule: Pod Security ``restricted``, enforced and complied with. Run by ``slipway.checks``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.checks.base import Check, Finding, Input, Object
from slipway.checks.lookup import deployment, dig, no_deployment, pod_spec, where
from slipway.checks.profiles import Profile

LABEL = "pod-security.kubernetes.io/enforce"
THRESHOLD = f"{LABEL}=restricted on the namespace, and pods that comply"
VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
"""Volume types of the restricted Pod Security Standard."""


def _pod_violations(spec: Object) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes") or ():
        yield from (f"volume type {kind}" for kind in volume if kind not in VOLUMES | {"name"})


def _effective(spec: Object, container: Object) -> Mapping[str, Any]:
    """Security context of a container, with what it inherits from the pod."""
    return {**(spec.get("securityContext") or {}), **(container.get("securityContext") or {})}


def _container_violations(spec: Object, container: Object) -> Iterator[str]:
    context = _effective(spec, container)
    drops = dig(context, "capabilities", "drop") or ()
    adds = set(dig(context, "capabilities", "add") or ()) - {"NET_BIND_SERVICE"}
    rules = {
        "privileged": context.get("privileged") is True,
        "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is not False,
        "capabilities": "ALL" not in drops or bool(adds),
        "runAsNonRoot": context.get("runAsNonRoot") is not True,
        "runAsUser 0": context.get("runAsUser") == 0,
        "seccompProfile": dig(context, "seccompProfile", "type") not in ("RuntimeDefault", "Localhost"),
        "procMount": context.get("procMount") not in (None, "Default"),
        "hostPort": any(port.get("hostPort") for port in container.get("ports") or ()),
    }
    yield from (f"{container['name']}: {name}" for name, broken in rules.items() if broken)


def violations(spec: Object) -> list[str]:
    """What of a pod spec breaks the restricted Pod Security Standard (Linux), in words."""
    found = list(_pod_violations(spec))
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            found += _container_violations(spec, container)
    return found


def _run(given: Input, _: Profile) -> Finding:
    spec = pod_spec(given)
    if not spec:
        return no_deployment(given, THRESHOLD)
    broken = violations(spec)
    evidence = (
        where("Deployment", deployment(given), "spec.template.spec", given)
        + f"; Namespace {given.namespace} metadata.labels"
    )
    if broken:
        return Finding("FAIL", f"violates: {', '.join(broken)}", THRESHOLD, evidence)
    if given.namespace_labels is None:
        return Finding("WARN", "pods comply; the namespace could not be read", THRESHOLD, evidence)
    level = given.namespace_labels.get(LABEL, "nothing")
    return Finding(
        "PASS" if level == "restricted" else "WARN",
        f"pods comply, the namespace enforces {level}",
        THRESHOLD,
        evidence,
        f"kubectl label namespace {given.namespace} {LABEL}=restricted",
    )


CHECK = Check(
    name="pod-security",
    title="Is a broken-into engine kept small?",
    kind="objects",
    why="An engine parses what strangers send; in a restricted pod an attacker has no root and no host.",
    passes="PASS: the namespace enforces the restricted Pod Security Standard and the pods comply. "
    "WARN: they comply, the namespace does not enforce it. FAIL: they don't comply.",
    fix="remove what changed the pods: Slipway's own comply with the restricted standard",
    run=_run,
)
