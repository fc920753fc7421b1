"""Rule: the endpoint asks its callers who they are. Run by ``slipway.checks``."""

from __future__ import annotations

import re

from slipway.checks.base import Check, Finding, Input, Object
from slipway.checks.lookup import containers, deployment, no_deployment, where
from slipway.checks.profiles import Profile

THRESHOLD = "every request needs a key that comes from a Secret"
MEANWHILE = (
    "nothing can make this PASS yet: keys come with Slipway's own gateway, in later work, and one of yours "
    "in front is not seen from here. Until then let only it, or the pods that may call, reach the model: "
    "spec.access.allowFrom, where the network plugin enforces NetworkPolicy"
)
"""The engine's own key would not do: its probes, the benchmark and scrapers would be refused, too."""
_KEY_ARG = re.compile(r"(?:^|\s)(--api-key(?:-file)?)(?==|\s|$)")
"""llama-server's and vLLM's options that make a bearer token obligatory, also inside a shell line."""
KEY_ENV = ("LLAMA_API_KEY", "VLLM_API_KEY")
"""The same by environment."""


def _keys(container: Object) -> tuple[list[str], bool]:
    """Names of what asks for a key, and whether all of them come from a file or a Secret."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    args = [found for word in words for found in _KEY_ARG.findall(word)]
    env = [one for one in container.get("env") or () if one["name"] in KEY_ENV]
    hidden = "--api-key" not in args and all("valueFrom" in one for one in env)
    return [*args, *(one["name"] for one in env)], hidden


def _run(given: Input, _: Profile) -> Finding:
    found = containers(given)
    if not found:
        return no_deployment(given, THRESHOLD)
    evidence = where("Deployment", deployment(given), "spec.template.spec.containers[*].args and env", given)
    checked = [_keys(one) for one in found]
    names = [name for keys, _ in checked for name in keys]
    if not names:
        return Finding("FAIL", "none: every admitted caller is served", THRESHOLD, evidence)
    if not all(hidden for _, hidden in checked):
        return Finding(
            "WARN",
            f"{', '.join(names)}: the key is readable in the object",
            THRESHOLD,
            evidence,
            "keep the key in a Secret: in this object, whoever may read Deployments has it",
        )
    return Finding("PASS", ", ".join(names), THRESHOLD, evidence)


CHECK = Check(
    name="authentication",
    title="Does the endpoint know who asks?",
    kind="objects",
    why="Whoever reaches the Service uses the model at your cost, and nobody can tell who it was.",
    passes="PASS: the engine asks for a key from a file or Secret. WARN: the key stands in the object. "
    "FAIL: no key is asked for, as Slipway itself sets none so far: until its gateway exists, every model it "
    "serves FAILs here.",
    fix=MEANWHILE,
    run=_run,
)
