"""Rule: no Python of the model's own runs in its engine. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.lookup import deployment, no_deployment
from slipway.checks.profiles import Profile

THRESHOLD = "no code of the model's own"
GGUF = "gguf"


def _run(given: Input, _: Profile) -> Finding:
    if not deployment(given):
        return no_deployment(given, THRESHOLD)
    evidence = f"ModelDeployment {given.namespace}/{given.name} spec.model.trustRemoteCode"
    if given.spec.model.trust_remote_code is not True:
        return Finding("PASS", "none is fetched", THRESHOLD, evidence)
    source = given.spec.model.source
    if given.plan.form == GGUF:
        value = f"Python of {source} may run while it is converted; the engine reads GGUF alone"
        return Finding("WARN", value, THRESHOLD, evidence)
    return Finding("WARN", f"Python of {source} may run in {given.plan.engine}", THRESHOLD, evidence)


CHECK = Check(
    name="remote-code",
    title="Does code of strangers run beside your data?",
    kind="objects",
    why="Code that comes with weights sees every prompt, and runs with the engine's rights on its node.",
    passes="PASS: spec.model.trustRemoteCode is not set, so the repository's Python is never fetched. "
    "WARN: it is, and what runs may be anything.",
    fix="read the repository's .py files at the commit of status.source, or serve the model as GGUF, or "
    "choose one that engines know by themselves, and drop trustRemoteCode",
    run=_run,
)
