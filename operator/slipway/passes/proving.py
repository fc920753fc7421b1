"""Benchmark once a revision serves, then the checklist.

The last step of the ModelDeployment's pass; blocks nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from slipway import checks
from slipway.api import reasons
from slipway.api.deploymentstatus import LoadLevel
from slipway.checks import Input, NodeState
from slipway.manifests import jobs, kueue
from slipway.manifests.serving import PublishedArtifact
from slipway.observe.observed import Raw
from slipway.passes import attempt, tries
from slipway.passes.outcome import Draft
from slipway.passes.scene import Chosen, Scene
from slipway.passes.serving import HOMELESS
from slipway.plan import stages
from slipway.plan.stages import Do, State, Step, Try
from slipway.plan.symptoms import Symptoms
from slipway.plan.workload import as_deployment
from slipway.plan.workload import pods as pods_of
from slipway.status import parse_time, timestamp

REVISION_LABEL: Final = "slipway.dev/revision"
TRIES: Final = 3
"""A benchmark that failed so often is given up until revision, pods or retry annotation change.

The endpoint serves, only figures are missing.
"""
FAILED_TOOL: Final = "failed: "
SKIPPED_TOOL: Final = "skipped: "
"""Beginnings of ``status.benchmark.tool`` when there are no figures: why there are none."""


@dataclass(frozen=True)
class _Subject:
    """What is measured.

    Attributes:
        pods: hash of the pods' template: other arguments are other figures, though the revision is the same.
        retry: value of the retry annotation: another one measures again what could not be measured.
    """

    revision: str
    digest: str
    pods: str
    retry: str

    @property
    def stamp(self) -> str:
        """The fingerprint that Jobs carry."""
        return f"{self.revision}|{self.digest}|{self.pods}|{self.retry}"

    def key(self, *, failed: bool) -> str:
        """``status.benchmark.revision``: revision and pods, of a failure also the retry annotation's hash."""
        tried = f".{_hash(self.retry)}" if failed and self.retry else ""
        return f"{self.revision}@{self.pods}{tried}"


def _hash(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def prove(scene: Scene, chosen: Chosen, served: PublishedArtifact, workload: Raw, draft: Draft) -> None:
    """Measure what is available, then judge by the checklist.

    Args:
        scene: the pass.
        chosen: the revision that serves.
        served: its artifact.
        workload: as wished.
        draft: what is to be written.
    """
    retry = scene.seen.model["metadata"].get("annotations", {}).get(tries.RETRY, "")
    pods = _hash(pods_of(workload))
    subject = _Subject(chosen.name, served.digest, pods, str(retry)[:256])
    if draft.headline is None and reasons.PROGRESSING not in draft.conditions:
        _measure(scene, chosen, subject, draft)
    if scene.seen.workload is None:
        return
    found = checks.checklist_status(_input(scene, chosen, served, _known(subject, draft)))
    draft.fields["checklist"] = found.model_dump(by_alias=True, exclude_none=True, mode="json")
    failed = [one.check for one in found.results if one.result == "FAIL"]
    if failed:
        text = f"failed: {', '.join(failed)}; status.checklist says why and what to do"
        draft.fails(reasons.CHECKLIST_PASSED, reasons.CHECKS_FAILED, text)
    else:
        draft.holds(reasons.CHECKLIST_PASSED, reasons.PASSED, f"{found.summary} passed")


def _known(subject: _Subject, draft: Draft) -> dict[str, Any] | None:
    """The figures, or the failure to get them, if they are of this very subject."""
    held: dict[str, Any] = draft.fields.get("benchmark") or {}
    failed = str(held.get("tool", "")).startswith((FAILED_TOOL, SKIPPED_TOOL))
    return held if held.get("revision") == subject.key(failed=failed) else None


def _measure(scene: Scene, chosen: Chosen, subject: _Subject, draft: Draft) -> None:
    if _known(subject, draft):
        return
    mine = [
        one
        for one in scene.seen.jobs
        if one.job["metadata"].get("labels", {}).get(REVISION_LABEL) == chosen.name
    ]
    found = [_of(subject, one) for one in tries.tries(mine, "benchmark", scene.now, _said(draft))]
    step = stages.next_step(found, subject.stamp, scene.now, tries.template_of(_job(scene, chosen, 1)))
    if step.do is Do.DONE:
        draft.fields["benchmark"] = _figures(step.result, subject.key(failed=False), draft)
        return
    if step.do is Do.START and _leaving(scene):
        _working(replace(step, verdict=None), draft)
        return
    if why := _given_up(step):
        draft.fields["benchmark"] = _figures({"tool": why[:256]}, subject.key(failed=True), draft)
        dropped = {one.name for one in found if one.state is State.RUNNING}
    else:
        dropped = set(step.obsolete)
        _working(step, draft)
    if step.do is Do.START:
        draft.create.append(tries.stamped_job(_job(scene, chosen, step.attempt), step, subject.stamp))
    draft.delete += [one.job for one in mine if one.job["metadata"]["name"] in dropped]


def _leaving(scene: Scene) -> bool:
    """Whether pods of before still answer their last callers: beside them the new ones' figures are too low.

    A pod's deletionTimestamp is when its grace ends: what stays longer is stuck, and not waited for.
    """
    ends = (pod["metadata"].get("deletionTimestamp") for pod in scene.seen.engine_pods)
    return any(end and parse_time(end) > scene.now for end in ends)


def _said(draft: Draft) -> list[dict[str, Any]]:
    """What Progressing said that this very Job waits for: a pod without a node is not waited for."""
    kind = reasons.PROGRESSING
    return [one for one in draft.old_conditions if one["type"] == kind and one["reason"] not in HOMELESS]


def _given_up(step: Step) -> str:
    """Why there will be no figures; empty while they may still come."""
    if step.do is Do.WAIT and step.verdict and step.verdict.reason in HOMELESS:
        # Nothing was tried: the model has the room that its own load test needs.
        return f"{SKIPPED_TOOL}{step.verdict.message}"
    if step.do is Do.FAIL or (step.verdict and step.count >= TRIES and step.after):
        return f"{FAILED_TOOL}{step.verdict.message if step.verdict else 'no reason known'}"
    return ""


def _job(scene: Scene, chosen: Chosen, number: int) -> Raw:
    source, plan = chosen.pinned.artifacts[0], chosen.pinned.plan
    job = jobs.build_benchmark_job(scene.owner, scene.spec, plan, source, scene.settings, number, chosen.name)
    return kueue.queued(job, kueue.labels_of(scene.seen.model))


def _of(subject: _Subject, one: Try) -> Try:
    """A try of other pods measured something else: it counts for its number alone."""
    return (
        one
        if one.stamp == subject.stamp or one.state is State.RUNNING
        else replace(one, state=State.FAILED, result={}, ended=None, symptoms=Symptoms())
    )


def _working(step: Step, draft: Draft) -> None:
    draft.look_again(
        max(1.0, (step.after - draft.now).total_seconds()) if step.after else attempt.PROGRESS_SECONDS
    )
    draft.fields["progress"] = stages.progress_text("benchmark", step.progress.get("percent"))
    reason, text = reasons.BENCHMARKING, "a short load test runs against the endpoint"
    if step.verdict is not None:
        reason, text = step.verdict.reason, attempt.said(step, step.verdict)
    draft.progressing(state=True, reason=reason, message=text)


def _figures(result: Mapping[str, Any], revision: str, draft: Draft) -> dict[str, Any]:
    figures = [(str(one.alias), one.is_required()) for one in LoadLevel.model_fields.values()]
    return {
        "tool": str(result.get("tool", "")),
        "revision": revision,
        "finishedAt": timestamp(draft.now),
        "levels": [
            {name: level.get(name) for name, always in figures if always or name in level}
            for level in result.get("levels") or ()
        ],
        "metricsOk": result.get("metricsOk"),
        "acceptanceRate": result.get("acceptanceRate"),
    }


def _children(scene: Scene) -> dict[str, Raw]:
    """Children by kind, as rules read them: what keeps the pods in the shape of a Deployment."""
    name = scene.owner.name
    found = {raw["kind"]: raw for raw in scene.seen.children if raw["metadata"]["name"] == name}
    workload = scene.seen.workload
    return found if workload is None else {**found, "Deployment": as_deployment(workload)}


def _input(
    scene: Scene, chosen: Chosen, served: PublishedArtifact, benchmark: dict[str, Any] | None
) -> Input:
    tool = str((benchmark or {}).get("tool", ""))
    failure = tool.removeprefix(FAILED_TOOL) if tool.startswith(FAILED_TOOL) else ""
    skipped = tool.removeprefix(SKIPPED_TOOL) if tool.startswith(SKIPPED_TOOL) else ""
    seen = scene.seen
    name = scene.owner.name
    return Input(
        name=name,
        namespace=scene.owner.namespace,
        namespace_labels=seen.namespace_labels,
        spec=scene.spec,
        plan=chosen.pinned.plan,
        children=_children(scene),
        pods=seen.engine_pods,
        artifact_name=served.name,
        artifact_status=seen.artifacts[served.name].get("status") or {},
        claim=seen.claims.get(served.claim),
        nodes=tuple(NodeState(node.facts, node.conditions) for node in seen.nodes),
        benchmark=None if failure or skipped else benchmark,
        benchmark_failure=failure,
        benchmark_skipped=skipped,
    )
