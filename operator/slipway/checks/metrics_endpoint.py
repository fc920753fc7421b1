"""Rule: the engine's /metrics answers, and scrapers are told where. Run by ``slipway.checks``."""

from __future__ import annotations

from slipway.checks.base import Check, Finding, Input
from slipway.checks.load import unmeasured
from slipway.checks.lookup import dig
from slipway.checks.profiles import Profile

THRESHOLD = "GET /metrics answers with the engine's metrics; pods are annotated for scraping"


def _run(given: Input, _: Profile) -> Finding:
    benchmark = given.benchmark
    if benchmark is None or benchmark.get("metricsOk") is None:
        return unmeasured(given, THRESHOLD)
    evidence = (
        f"GET /metrics of Service {given.namespace}/{given.name} by the benchmark Job "
        f"at {benchmark.get('finishedAt', 'unknown time')}"
    )
    if not benchmark["metricsOk"]:
        return Finding("FAIL", "no answer, or none of the engine's metrics", THRESHOLD, evidence)
    template = dig(given.children.get("Deployment"), "spec", "template", "metadata", "annotations") or {}
    if template.get("prometheus.io/scrape") != "true":
        return Finding(
            "WARN",
            "answers; pods carry no prometheus.io/scrape annotation",
            THRESHOLD,
            f"{evidence}; Deployment {given.namespace}/{given.name} spec.template.metadata.annotations",
            "remove what strips the pods' annotations, or name the Service in your scraper's configuration",
        )
    return Finding("PASS", "answers, annotated for scraping", THRESHOLD, evidence)


CHECK = Check(
    name="metrics-endpoint",
    title="Can the model be watched?",
    kind="measured",
    why="Without the engine's own metrics nobody sees queues, slow tokens or a full KV cache "
    "before users do.",
    passes="PASS: /metrics answered with the engine's metrics and the pods carry prometheus.io/scrape. "
    "WARN: the annotation is missing, or the benchmark Job failed. FAIL: /metrics did not answer. "
    "SKIP: not asked yet.",
    fix="look at the engine's log for the metrics option, and remove engine.args that switch it off",
    run=_run,
)
