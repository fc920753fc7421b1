"""Writes docs/checklist.md from rules and profiles: ``python -m slipway.checks.page``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator

from slipway.checks import checks
from slipway.checks.base import Check
from slipway.checks.profiles import PROFILES, Threshold

HEAD = """# The production checklist

Once a model answers, Slipway asks what a careful operator would ask before users come, and keeps the
answers in `status.checklist`: PASS, WARN (works, yet not as it should), FAIL, or SKIP (does not apply, or
can't be known yet), each with value, threshold, evidence and, for WARN and FAIL, a fix. The summary counts
PASS over all that applied. The checklist advises: it blocks no traffic. Condition `ChecklistPassed` is
False while a rule is FAIL.

    kubectl get mdl qwen             # column Checklist: 11/14
    slipway checklist qwen           # every rule; exit code 1 if one is FAIL, 2 if there is no checklist
    slipway checklist qwen -o json
    slipway checklist -f qwen.json   # the same from `kubectl get mdl qwen -o json`, without a cluster

This page is written by `python -m slipway.checks.page > docs/checklist.md`; a test compares it with the
code.

## Profiles

`spec.checklist.profile` is `edge` or `chat`; `auto`, the default, follows the plan: `edge` on CPU nodes,
`chat` on GPU nodes."""
FOOT = """## What it does not know

- Whether the cluster's network plugin enforces NetworkPolicy: the API does not tell. See
  [unverified.md](unverified.md).
- How full the volume really is: the claim's use is the recorded size of the artifact; nothing reads the
  volume.
- How the model does under your own load: the benchmark is short, with synthetic prompts at two
  concurrencies."""


def _profiles() -> Iterator[str]:
    for profile in PROFILES.values():
        yield f"\n### {profile.name}: {profile.about}\n"
        yield "| Threshold | Limit | Source |"
        yield "|---|---|---|"
        for field in dataclasses.fields(profile):
            limit = getattr(profile, field.name)
            if isinstance(limit, Threshold):
                yield f"| {field.name.replace('_', ' ')} | {limit} | {limit.source} |"


def _rule(rule: Check) -> str:
    origin = "read from objects" if rule.kind == "objects" else "measured by a Job"
    return f"\n### {rule.name}\n\n{rule.title} ({origin}) {rule.why}\n\n- {rule.passes}\n- Fix: {rule.fix}."


def page() -> str:
    """The whole page, Markdown."""
    rules = "\n".join(_rule(rule) for rule in checks())
    return "\n".join([HEAD, *_profiles(), "\n## Rules", rules, "", FOOT, ""])


if __name__ == "__main__":
    sys.stdout.write(page())
