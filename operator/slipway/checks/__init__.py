"""The production checklist: rules as pure functions, one file each. Called by the pass and the CLI."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterable, Sequence

from slipway.api.modeldeployment import ChecklistStatus, CheckResult, ModelDeploymentSpec
from slipway.checks.base import Check, Finding, Input, NodeState, Object, Result, Verdict
from slipway.checks.profiles import PROFILES
from slipway.plan.decision import Plan

__all__ = [
    "Check",
    "Finding",
    "Input",
    "NodeState",
    "Object",
    "Result",
    "Verdict",
    "checklist_status",
    "checks",
    "evaluate",
    "failed",
    "profile_name",
    "summary",
]

TEXT_LIMIT = 512
"""Characters of one text of a result at most: status stays small whatever an object holds."""


@functools.cache
def checks() -> tuple[Check, ...]:
    """Every rule of this folder: those read from objects first, then the measured, each by name."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        rule = getattr(importlib.import_module(f"{__name__}.{module.name}"), "CHECK", None)
        if isinstance(rule, Check):
            found.append(rule)
    return tuple(sorted(found, key=lambda rule: (rule.kind != "objects", rule.name)))


def profile_name(spec: ModelDeploymentSpec, plan: Plan) -> str:
    """Profile that the user asked for; ``auto`` and absent follow the plan."""
    asked = spec.checklist.profile if spec.checklist else None
    return plan.profile if asked in (None, "auto") else str(asked)


def evaluate(given: Input, profile: str) -> tuple[Result, ...]:
    """Run every rule.

    Args:
        given: what was observed.
        profile: a key of ``PROFILES``.

    Returns:
        One result a rule, in the order of ``checks()``; the same input gives the same results, so that
        a settled object's status is not written again.

    Raises:
        KeyError: the profile does not exist.
    """
    thresholds = PROFILES[profile]
    return tuple(_result(rule, rule.run(given, thresholds)) for rule in checks())


def summary(results: Sequence[Result]) -> str:
    """PASS over all that applied (SKIP does not count), such as ``11/13``."""
    applied = [result for result in results if result.result != "SKIP"]
    return f"{sum(result.result == 'PASS' for result in applied)}/{len(applied)}"


def failed(results: Iterable[Result]) -> tuple[str, ...]:
    """Names of the rules that FAIL; the condition ``ChecklistPassed`` is True when there is none."""
    return tuple(result.check for result in results if result.result == "FAIL")


def checklist_status(given: Input) -> ChecklistStatus:
    """Evaluate by the wished profile and give it the shape of ``status.checklist``."""
    profile = profile_name(given.spec, given.plan)
    results = evaluate(given, profile)
    rows = [
        CheckResult(
            check=result.check,
            result=result.result,
            value=result.value,
            threshold=result.threshold,
            evidence=result.evidence,
            fix=result.fix or None,
        )
        for result in results
    ]
    return ChecklistStatus(profile=profile, summary=summary(results), results=rows)


def _result(rule: Check, found: Finding) -> Result:
    needs_fix = found.result in ("WARN", "FAIL")
    return Result(
        check=rule.name,
        result=found.result,
        value=_bounded(found.value),
        threshold=_bounded(found.threshold),
        evidence=_bounded(found.evidence),
        fix=_bounded(found.fix or rule.fix) if needs_fix else "",
    )


def _bounded(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
