"""Shapes of the production checklist: what a rule is given, what it answers; imported by rules and pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.checks.profiles import Profile
from slipway.plan.decision import Plan
from slipway.plan.facts import NodeFacts

Object = Mapping[str, Any]
"""A Kubernetes object as the API server sends it: camelCase JSON, trimmed or whole."""
Verdict = Literal["PASS", "WARN", "FAIL", "SKIP"]


@dataclass(frozen=True)
class NodeState:
    """One node: its facts, and its conditions as type to status (``{"DiskPressure": "False"}``)."""

    facts: NodeFacts
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """Everything that the rules may look at; plain data, gathered by the one reader.

    Attributes:
        name: of the ModelDeployment.
        namespace: of the ModelDeployment.
        namespace_labels: labels of that Namespace; None when they could not be read.
        spec: the user's wish.
        plan: the pinned plan that serves now.
        children: kind to the observed object of ours: Deployment, Service, HorizontalPodAutoscaler,
            PodDisruptionBudget, NetworkPolicy; an absent kind is absent in the cluster.
        pods: the engine's pods as observed, with ``metadata``, ``spec.nodeName`` and ``status``.
        artifact_name: ModelArtifact that is served.
        artifact_status: its status, camelCase (``sizeBytes``, ``quality``).
        claim: its PersistentVolumeClaim with ``status.capacity``; None when there is none.
        nodes: every known node.
        benchmark: ``status.benchmark`` of this revision, camelCase, plus ``metricsOk``; None until measured.
        benchmark_failure: why there is no benchmark, empty while it has not been tried or is running.
        benchmark_skipped: why none could be tried, in the scheduler's words; empty when one was or will be.
    """

    name: str
    namespace: str
    namespace_labels: Mapping[str, str] | None
    spec: ModelDeploymentSpec
    plan: Plan
    children: Mapping[str, Object]
    pods: tuple[Object, ...]
    artifact_name: str
    artifact_status: Object
    claim: Object | None
    nodes: tuple[NodeState, ...] = ()
    benchmark: Object | None = None
    benchmark_failure: str = ""
    benchmark_skipped: str = ""


@dataclass(frozen=True)
class Result:
    """One rule's answer; every text is bounded by ``evaluate``.

    Attributes:
        check: the rule's name.
        result: PASS, WARN (works, yet not as it should), FAIL, or SKIP (does not apply,
            or can't be known yet).
        value: what was found.
        threshold: what PASS asks for.
        evidence: object, field and, for a measurement, time at which ``value`` was seen.
        fix: what to do, empty for PASS and SKIP.
    """

    check: str
    result: Verdict
    value: str
    threshold: str
    evidence: str
    fix: str = ""


@dataclass(frozen=True)
class Finding:
    """A rule's answer before its name is put on; ``fix`` falls back to the rule's own."""

    result: Verdict
    value: str
    threshold: str
    evidence: str
    fix: str = ""


@dataclass(frozen=True)
class Check:
    """One rule; a file of this package that defines ``CHECK`` is a rule.

    Attributes:
        name: kebab-case, shown to people; stable, because waivers and dashboards name it.
        title: the question that it answers.
        kind: ``objects`` (read from the API) or ``measured`` (by the benchmark Job).
        why: what goes wrong in production without it.
        passes: when it is PASS, in words, and what makes WARN and FAIL of it.
        fix: what a person does about WARN or FAIL.
        run: pure function of the input and the profile's thresholds.
    """

    name: str
    title: str
    kind: Literal["objects", "measured"]
    why: str
    passes: str
    fix: str
    run: Callable[[Input, Profile], Finding]
