"""Everything that serves one model, in the order of applying. Called by the pass and ``slipway render``."""

from __future__ import annotations

from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.manifests.autoscaler import build_autoscaler
from slipway.manifests.budget import build_budget
from slipway.manifests.deployment import Serving, build_deployment, selector
from slipway.manifests.leader_worker_set import build_leader_worker_set
from slipway.manifests.network import (
    build_benchmark_policy,
    build_group_policy,
    build_model_job_policy,
    build_serving_policy,
)
from slipway.manifests.owner import Owner, PublishedArtifact
from slipway.manifests.places import copied_uris
from slipway.manifests.service import build_service, service_url
from slipway.plan.decision import Plan
from slipway.settings import Settings

__all__ = ["PublishedArtifact", "build_serving", "selector", "service_url"]


def build_serving(
    owner: Owner,
    spec: ModelDeploymentSpec,
    plan: Plan,
    artifact: PublishedArtifact,
    settings: Settings,
    revision: str,
    *,
    grouped: bool = False,
) -> list[dict[str, Any]]:
    """All serving children, named as the ModelDeployment, in the order in which they are applied.

    NetworkPolicies of engine and of Jobs (``NAME.jobs``, ``NAME.benchmark``) if ``settings.network_policy``,
    Deployment or, for replicas of several pods, LeaderWorkerSet (without ``replicas`` while autoscaling is
    set), Service, PodDisruptionBudget, HorizontalPodAutoscaler (if ``spec.autoscaling``). What is absent here
    but exists with our owner reference is to be pruned by the caller.

    Args:
        owner: the ModelDeployment.
        spec: its spec.
        plan: the pinned plan.
        artifact: what is served.
        settings: with the pinned images (``revision.pinned_settings``).
        revision: name of the ControllerRevision.
        grouped: replicas of several pods still run, though the plan may have none: they go on to meet.
    """
    group = grouped or plan.parallel.pods > 1
    build = build_leader_worker_set if plan.parallel.pods > 1 else build_deployment
    served = Serving(owner, spec, plan, artifact, settings, revision)
    workload = build(served)
    children = [
        # The policy comes first: there is no moment in which a pod runs without it.
        *_policies(served, group=group),
        workload,
        build_service(owner, plan.engine),
        build_budget(owner, plan.engine, group=group),
    ]
    if spec.autoscaling is not None:
        children.append(build_autoscaler(owner, spec.autoscaling, plan.engine, workload))
    return children


def _policies(served: Serving, *, group: bool) -> list[dict[str, Any]]:
    owner, plan, settings = served.owner, served.plan, served.settings
    if not settings.network_policy:
        return []
    fetched = copied_uris(served.places.values(), settings)
    return [
        build_serving_policy(owner, served.spec, plan.engine, settings, group=group, fetched=fetched),
        *([build_group_policy(owner, plan.engine, settings, fetched=fetched)] if group else []),
        build_model_job_policy(owner, served.spec, settings),
        *build_benchmark_policy(owner, copied_uris([served.artifact.place], settings), settings),
    ]
