"""ModelDeployment v1alpha1, ``status``. Imported by ``modeldeployment``, which re-exports it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slipway.api.base import Bounded, Condition, Figure, Model, Name, Text
from slipway.api.pools import MOST_POOLS, PoolStatus


class SourceStatus(Model):
    """The pinned source."""

    uri: Annotated[str, Field(max_length=512)]
    """Where it was resolved."""
    commit: Annotated[str, Field(max_length=128)]
    """The commit that is served, whatever its branch does."""
    license: Bounded | None = None
    """Licence as the hub names it."""
    bytes: int | None = None
    """Bytes to download."""
    parameters: int | None = None
    """Number of weights."""


class MemoryStatus(Model):
    """Planned memory of one replica, bytes."""

    weights: int
    """The weights at the chosen level."""
    kv_cache: int
    """KV cache at the planned context length and concurrency."""
    activations: int
    """Compute buffers."""
    overhead: int
    """The server itself."""
    companions: int | None = None
    """Draft, heads and adapters beside the model, when there are any."""
    total: int
    """Sum of the parts."""


class RejectedOption(Model):
    """An option that the planner did not take, and why."""

    option: Bounded
    """What could have been."""
    reason: Text
    """Why it is not."""


class AcceleratorStatus(Model):
    """What each pod requests beside CPU and memory."""

    vendor: Bounded
    """nvidia, amd, intel, gaudi or ascend."""
    resource: Bounded
    """Extended resource, such as nvidia.com/gpu."""
    count: int
    """How many each pod gets."""
    product: Bounded | None = None
    """The device, as its nodes are labelled."""


class PlanStatus(Model):
    """What the planner decided, and why."""

    engine: Name
    """Engine that serves."""
    method: Bounded
    """How the weights are made smaller."""
    level: Bounded
    """Level that is served."""
    context_length: int
    """Tokens of context for each request."""
    concurrency: int
    """Requests that one replica generates at once."""
    threads: int
    """Threads of the engine, its CPU limit in whole cores."""
    tensor_parallel: int | None = None
    """Devices that share each layer; absent on CPU."""
    pipeline_parallel: int | None = None
    """Groups of layers, when there are several."""
    data_parallel: int | None = None
    """Copies of the model inside a replica, when there are several."""
    pods: int | None = None
    """Pods of one replica, when it takes several nodes."""
    gpu_layers: int | None = None
    """Layers on the device, when the rest stays on the CPU."""
    accelerator: AcceleratorStatus | None = None
    """Devices of each pod; absent on CPU."""
    node_selector: Annotated[dict[str, Bounded], Field(max_length=32)] | None = None
    """Labels of the nodes that the plan is for."""
    memory: MemoryStatus
    """Planned memory of one replica."""
    resources: Annotated[dict[str, Figure], Field(max_length=16)]
    """Container resources of one replica."""
    token_price: Bounded | None = None
    """Currency for a million tokens at full load, by the bandwidth of the memory that is read; absent without
    prices of nodes (nodePools in the installation's values)."""
    reason: Text
    """Why this plan."""
    rejected: Annotated[list[RejectedOption], Field(max_length=16)]
    """What was not chosen, and why."""


class ArtifactSummary(Model):
    """One artifact that this deployment uses."""

    name: Name
    """ModelArtifact of this namespace."""
    level: Bounded
    """Its level, or source."""
    ready: bool
    """Whether it is whole and verified."""


class ComparedStatus(Model):
    """One level of spec.optimize.compare, or the f16 that it is made of."""

    level: Bounded
    """Its name."""
    artifact: Name | None = None
    """ModelArtifact of this namespace; absent when none is made."""
    ready: bool
    """Whether it is whole and verified."""
    size_bytes: int | None = None
    """Size of the published files, bytes."""
    bits_per_weight: Figure | None = None
    """Size in bits over the number of weights."""
    perplexity: Figure | None = None
    """On the same text as the served level's."""
    loss: Figure | None = None
    """Relative increase against f16."""
    kld: Figure | None = None
    """Mean KL divergence from f16, nats a token."""
    message: Text | None = None
    """Why it is not there, when something is wrong or it waits."""


class CompanionStatus(Model):
    """A draft or an adapter, pinned."""

    name: Bounded
    """draft, or the adapter's name."""
    kind: Bounded
    """draft, mlp, medusa, lora (an adapter that is served) or merge (one that is in the weights)."""
    uri: Annotated[str, Field(max_length=512)]
    """Where it was resolved."""
    commit: Annotated[str, Field(max_length=128)]
    """The commit that is served."""
    bytes: int
    """Bytes to download."""


class CheckResult(Model):
    """One rule of the production checklist."""

    check: Bounded
    """Name of the rule."""
    result: Literal["PASS", "WARN", "FAIL", "SKIP"]
    """SKIP: it does not apply here, the evidence says why."""
    value: Text
    """What was found."""
    threshold: Text
    """What was asked."""
    evidence: Text
    """Where it was read."""
    fix: Text | None = None
    """What to do about it."""


class ChecklistStatus(Model):
    """Results of the production checklist."""

    profile: Bounded
    """Whose thresholds were used: edge or chat."""
    summary: Figure
    """PASS over all that applied, such as 11/13."""
    results: Annotated[list[CheckResult], Field(max_length=64)]
    """Every rule with value, threshold, evidence and fix."""


class LoadLevel(Model):
    """Measured at one concurrency."""

    concurrency: int
    """Requests in flight."""
    requests: int
    """Requests that were answered."""
    errors: int
    """Requests that failed."""
    requests_per_second: Figure
    """Answered requests a second."""
    tokens_per_second: Figure
    """Output tokens a second, all requests together; 0 of an embedding model."""
    ttft_p50_ms: Figure
    """Median time to the first token, milliseconds; of an embedding model the latency, as a vector comes
    whole."""
    ttft_p95_ms: Figure
    """95th percentile of the time to the first token, milliseconds; of an embedding model the latency."""
    input_tokens_per_second: Figure | None = None
    """Tokens of the texts a second, all requests together; of embedding models whose server counts them."""
    latency_p50_ms: Figure | None = None
    """Median time to the whole answer, milliseconds; of embedding models."""
    latency_p95_ms: Figure | None = None
    """95th percentile of the time to the whole answer, milliseconds; of embedding models."""


class BenchmarkStatus(Model):
    """The last short benchmark of the ready endpoint, run once for each revision."""

    tool: Bounded
    """Load tool and its version."""
    revision: Name
    """What was measured: the revision, ``@``, and the hash of its pod template."""
    finished_at: Annotated[str, Field(max_length=32)]
    """When it ended."""
    levels: Annotated[list[LoadLevel], Field(max_length=8)]
    """Figures by concurrency."""
    metrics_ok: bool | None = None
    """Whether the endpoint's /metrics answered with the engine's metrics."""
    acceptance_rate: Figure | None = None
    """Guessed tokens that the model took, of those guessed during the benchmark, such as 62%."""


class FailureStatus(Model):
    """A permanent failure: not tried again until spec, credential or retry annotation changes."""

    reason: Bounded
    """One CamelCase word for programs."""
    message: Annotated[str, Field(max_length=4096)]
    """What happened, where, and what to do."""
    at: Annotated[str, Field(max_length=32)]
    """When."""
    spec_hash: Bounded
    """Hash of the spec that failed."""
    credential_version: Bounded | None = None
    """resourceVersion of the Secret that was used."""
    retry: Bounded | None = None
    """Value of the annotation slipway.dev/retry at that time."""


class ModelDeploymentStatus(Model):
    """Observed state."""

    observed_generation: int | None = None
    """The metadata.generation that this status answers."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """SourceResolved, Planned, ArtifactReady, Available, ChecklistPassed, Progressing; Ready sums them up."""
    pools: Annotated[list[PoolStatus], Field(max_length=MOST_POOLS)] | None = None
    """The pools of spec.pools, in the order in which they are filled."""
    replicas: int | None = None
    """Engine pods that exist."""
    ready_replicas: int | None = None
    """Engine pods that answer."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the engine pods, for the scale subresource."""
    url: Annotated[str, Field(max_length=512)] | None = None
    """OpenAI-compatible base URL inside the cluster."""
    progress: Bounded | None = None
    """What works now, such as Quantizing 43%; absent when nothing does."""
    revision: Name | None = None
    """ControllerRevision that holds the pinned plan."""
    source: SourceStatus | None = None
    """The pinned source."""
    plan: PlanStatus | None = None
    """What the planner decided, and why."""
    companions: Annotated[list[CompanionStatus], Field(max_length=17)] | None = None
    """What is served beside the model: draft or heads, and adapters; and what is merged into it."""
    artifacts: Annotated[list[ArtifactSummary], Field(max_length=32)] | None = None
    """ModelArtifacts that this deployment uses, from the source to what is served, then its companions'."""
    compare: Annotated[list[ComparedStatus], Field(max_length=10)] | None = None
    """Levels of spec.optimize.compare beside the served one: what they would cost."""
    quality_loss: Figure | None = None
    """Measured relative increase in perplexity of the served level against f16, such as 7.2%."""
    benchmark: BenchmarkStatus | None = None
    """The last short benchmark."""
    checklist: ChecklistStatus | None = None
    """The production checklist."""
    failure: FailureStatus | None = None
    """The permanent failure that stands, if one does."""
