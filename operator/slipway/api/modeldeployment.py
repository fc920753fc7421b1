"""ModelDeployment v1alpha1: the spec that a user writes; every room imports the whole kind from here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.base import (
    LabelValue,
    LocalRef,
    Model,
    NamespaceName,
    ObjectName,
    Quantity,
    Rule,
    keys_rule,
    positive_rule,
    unique_rule,
)
from slipway.api.companions import Adapter, Draft, Revision, Source
from slipway.api.deploymentstatus import (
    AcceleratorStatus,
    ArtifactSummary,
    BenchmarkStatus,
    ChecklistStatus,
    CheckResult,
    CompanionStatus,
    FailureStatus,
    LoadLevel,
    MemoryStatus,
    ModelDeploymentStatus,
    PlanStatus,
    RejectedOption,
    SourceStatus,
)
from slipway.api.enginespec import (
    Engine,
    Generation,
    PodOverrides,
    Resources,
    Speculative,
    Toleration,
)
from slipway.api.optimize import Optimize
from slipway.api.pools import MOST_POOLS, Pool, PoolStatus
from slipway.api.sources import source_rules

__all__ = [
    "AcceleratorStatus",
    "Access",
    "Adapter",
    "ArtifactSummary",
    "Autoscaling",
    "AutoscalingTarget",
    "BenchmarkStatus",
    "Caller",
    "CheckResult",
    "Checklist",
    "ChecklistStatus",
    "CompanionStatus",
    "Draft",
    "Engine",
    "FailureStatus",
    "Generation",
    "LoadLevel",
    "MemoryStatus",
    "ModelDeploymentSpec",
    "ModelDeploymentStatus",
    "ModelSource",
    "Optimize",
    "PlanStatus",
    "PodOverrides",
    "Pool",
    "PoolStatus",
    "RejectedOption",
    "Resources",
    "SourceStatus",
    "Speculative",
    "Store",
    "Toleration",
]


REMOTE = ("oci",)
"""Stores that every node reads, beside the claim."""
REPOSITORY = r"^[a-z0-9][a-zA-Z0-9._:-]*(/[a-z0-9._-]+)*$"
SHARED_STORE = (
    "(has(self.store) && ((has(self.store.accessMode) && self.store.accessMode == 'ReadWriteMany')"
    " || (has(self.store.type) && self.store.type != 'pvc')))"
)


class ModelSource(Model):
    """Which model, at which revision, read with which credential."""

    source: Source
    """URI of the model, for example hf://Qwen/Qwen2.5-7B-Instruct: hf:// (the Hugging Face hub or what the
    installation names in its place), modelscope://, s3://, oci://, pvc://, https:// or ollama://. The only
    required field of a ModelDeployment."""
    revision: Revision | None = None
    """Branch, tag or commit; default main. It is resolved to a commit once for each change of this object,
    then pinned: what the branch does later changes nothing that runs. Of oci:// and ollama://
    it is a tag. s3://, pvc:// and https:// have none: they are pinned to the digest of what they hold."""
    secret_ref: LocalRef | None = None
    """Secret in this namespace whose key "token" opens a private or gated repository; sources of other
    schemes have keys of their own. Only Jobs mount it; the operator never reads it."""
    trust_remote_code: bool | None = None
    """True: the repository's own Python (auto_map in its config) is fetched, and runs in Jobs and in the
    engine with their rights. Without it a model that brings code is refused."""
    adapters: Annotated[list[Adapter], Field(max_length=16)] | None = None
    """LoRA adapters: served beside the model, each under a name of its own, or merged into it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *source_rules("spec.model.revision"),
        unique_rule("adapters", "two adapters have one name: requests choose by it, so each needs its own"),
    )

    @property
    def served(self) -> tuple[Adapter, ...]:
        """Adapters that stand beside the model."""
        return tuple(one for one in self.adapters or () if one.mode == "serve")


class AutoscalingTarget(Model):
    """What one replica should carry."""

    cpu_utilization: Annotated[int, Field(ge=1, le=100)] | None = None
    """Percent of the requested CPU, averaged over the replicas; default 80."""


class Autoscaling(Model):
    """Replicas by load (a HorizontalPodAutoscaler); while set, spec.replicas is ignored."""

    min_replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Fewest replicas; default 1."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Most replicas."""
    target: AutoscalingTarget | None = None
    """What one replica should carry."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
            holds=lambda scaling: (scaling.min_replicas or 1) <= scaling.max_replicas,
            message="minReplicas must not be greater than maxReplicas",
            field="minReplicas",
        ),
    )


class Store(Model):
    """Where the artifacts lie: one PersistentVolumeClaim each, and what is served also where type says."""

    type: Literal["pvc", "oci"] | None = None
    """pvc: the claim is all there is. oci: what is served is pushed to a registry as an image, which nodes
    mount and keep (an image volume; an init container fetches it where the cluster has none); what is there
    already is used, nothing is built again. Default: the installation's, else pvc."""
    repository: Annotated[str, Field(min_length=1, max_length=255, pattern=REPOSITORY)] | None = None
    """Where to push, such as registry.example.com/models. Default: the installation's."""
    secret_ref: LocalRef | None = None
    """Secret in this namespace that may push and pull: .dockerconfigjson, by which nodes pull, too."""
    storage_class_name: ObjectName | None = None
    """StorageClass of the claims; default the installation's, else the cluster's."""
    size: Quantity | None = None
    """Size of each claim in place of the computed one, such as 20Gi; refused up front when too small."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] | None = None
    """ReadWriteOnce (the default): any class will do, and all replicas run on one node, the volume's.
    ReadWriteMany: replicas spread over nodes; the class has to offer it (NFS, CephFS, EFS and the like)."""

    rules: ClassVar[tuple[Rule, ...]] = (
        positive_rule("size", "20Gi"),
        Rule(
            cel="!has(self.repository) || (has(self.type) && self.type != 'pvc')",
            holds=lambda store: store.repository is None or store.type in REMOTE,
            message="a repository is for type oci: name the type, or drop it",
            field="repository",
        ),
        Rule(
            cel="!has(self.secretRef) || (has(self.type) && self.type != 'pvc')",
            holds=lambda store: store.secret_ref is None or store.type in REMOTE,
            message="a Secret is for type oci: name the type, or drop it",
            field="secretRef",
        ),
    )


class Caller(Model):
    """Pods that may call the model. Absent parts match everything."""

    namespace: NamespaceName | None = None
    """Name of the callers' namespace; absent is every namespace."""
    pod_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = None
    """Labels that the callers' pods have; absent is every pod."""

    rules: ClassVar[tuple[Rule, ...]] = (keys_rule("podLabels", "pod_labels"),)


class Access(Model):
    """Who may reach the endpoint, where the cluster's network plugin enforces NetworkPolicy."""

    allow_from: Annotated[list[Caller], Field(max_length=32)] | None = None
    """Callers admitted by the NetworkPolicy; absent admits every pod of this namespace, an empty list
    nobody."""


class Checklist(Model):
    """The production checklist: rules with value, threshold and evidence in status. It blocks no traffic."""

    profile: Literal["auto", "edge", "chat"] | None = None
    """Thresholds: edge for CPU nodes, chat for GPU nodes; auto (the default) follows the plan."""


class ModelDeploymentSpec(Model):
    """Desired state: one model, pinned, optimised, measured and served. Only model.source is required."""

    model: ModelSource
    optimize: Optimize | None = None
    engine: Engine | None = None
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Engine pods, also by kubectl scale mdl/NAME. Ignored while autoscaling is set."""
    autoscaling: Autoscaling | None = None
    pools: Annotated[list[Pool], Field(min_length=1, max_length=MOST_POOLS)] | None = None
    """Several kinds of nodes for this one model under one URL, each planned by itself. Replicas go to the
    cheapest pool by the price of a token, or in the order of this list where nodes have no price; what a pool
    has no room for goes to the next, and comes back. The autoscaler then writes spec.replicas."""
    store: Store | None = None
    access: Access | None = None
    checklist: Checklist | None = None
    suspend: bool | None = None
    """True: Slipway changes nothing of this object until it is false again; what runs goes on."""

    rules: ClassVar[tuple[Rule, ...]] = (
        unique_rule("pools", "two pools have the same name"),
        Rule(
            cel=f"!has(self.engine) || !has(self.engine.nodeSelector) || {SHARED_STORE}",
            holds=lambda spec: spec.engine is None or not spec.engine.node_selector or spec.shares_store,
            message="the engine's nodes have to reach what Jobs write on others: set spec.store.accessMode "
            "to ReadWriteMany, or use engine.podOverrides.nodeSelector, which is for Jobs too",
            field="engine",
        ),
        Rule(
            cel=f"!has(self.pools) || size(self.pools) < 2 || {SHARED_STORE}",
            holds=lambda spec: len(spec.pools or ()) < 2 or spec.shares_store,  # noqa: PLR2004 - one shares with nobody
            message="pools share their artifacts, so their nodes have to reach the same volumes: set "
            "spec.store.accessMode to ReadWriteMany",
            field="pools",
        ),
    )

    @property
    def shares_store(self) -> bool:
        """Whether every node can read what is served."""
        return self.shares_claims or (self.store is not None and self.store.type in REMOTE)

    @property
    def shares_claims(self) -> bool:
        """Whether every node can mount the claims."""
        return self.store is not None and self.store.access_mode == "ReadWriteMany"
