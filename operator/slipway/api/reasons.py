"""Every condition type and reason, with what it means. Imported by every room; a test finds strays."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from slipway_runtime import contract

SOURCE_RESOLVED = "SourceResolved"
"""The revision is resolved to a commit, and the model's facts are known."""
PLANNED = "Planned"
"""The planner decided engine, method, level and resources."""
ARTIFACT_READY = "ArtifactReady"
"""What is served is built, measured, whole and verified."""
AVAILABLE = "Available"
"""At least one engine pod answers with a generated token."""
CHECKLIST_PASSED = "ChecklistPassed"
"""No rule of the production checklist failed. Advisory: it blocks no traffic."""
PROGRESSING = "Progressing"
"""Something is being worked on; False when settled, failed for good, or suspended."""
SPILLED = "Spilled"
"""Only with spec.pools: a pool has no room, and others have its replicas. No part of Ready."""
READY = "Ready"
"""The sum: the model answers as specified. Carries the most specific reason of the others."""

CONDITION_TYPES = (
    SOURCE_RESOLVED,
    PLANNED,
    ARTIFACT_READY,
    AVAILABLE,
    CHECKLIST_PASSED,
    PROGRESSING,
    READY,
)
"""In the order in which they come true."""
POOL_CONDITION_TYPES = (*CONDITION_TYPES[:-2], SPILLED, *CONDITION_TYPES[-2:])
"""The same for a model with spec.pools."""

# What is well.
RESOLVED = "Resolved"
"""The source is pinned to the commit in status.source."""
DECIDED = "Decided"
"""The plan is in status.plan."""
BUILT = "Built"
"""The artifact is published and verified."""
SERVING = "Serving"
"""Engine pods answer."""
PASSED = "Passed"
"""Every rule that applies passed or only warns."""
IN_ORDER = "InOrder"
"""Every pool has room for the replicas that belong there."""
SETTLED = "Settled"
"""Nothing is left to do for this generation."""

# What is under way.
INSPECTING = "Inspecting"
"""A Job resolves the revision and reads config and headers, no weights yet."""
PLANNING = "Planning"
"""Facts are there, the decision is next."""
BUILDING = "Building"
"""Artifact Jobs run: fetch, convert, quantize, evaluate, publish."""
STARTING = "Starting"
"""Engine pods start and load the model."""
ROLLING_OUT = "RollingOut"
"""A new revision replaces the old one, which goes on serving."""
BENCHMARKING = "Benchmarking"
"""A short load test measures the ready endpoint."""
WAITING_FOR_PARENT = "WaitingForParent"
"""The artifact that this one is made from is not ready yet."""
WAITING_FOR_CLAIM = "WaitingForClaim"
"""The claim of an earlier build still has to go; the message names the pods that hold it."""
QUEUED = "Queued"
"""A Job waits for its turn: as many run as jobs.maxConcurrent admits, or Kueue has not admitted it yet."""
RETRYING = "Retrying"
"""A transient failure; the next try comes by itself."""
SUSPENDED = "Suspended"
"""spec.suspend is true: nothing is changed, what runs goes on."""
SCALED_TO_ZERO = "ScaledToZero"
"""spec.replicas is 0: the model is built, nothing serves."""
UNUSED = "Unused"
"""No current revision lists this ModelArtifact: it is deleted."""
WAITING = "Waiting"
"""An earlier condition has to come true first."""

# What the user edits.
INVALID_SPEC = "InvalidSpec"
"""A field is wrong; the message names every one."""
INVALID_NAME = "InvalidName"
"""metadata.name is no DNS-1035 label of at most 40 characters."""
INVALID_SOURCE = "InvalidSource"
"""spec.model.source is no URI of its scheme's form."""
UNKNOWN_SCHEME = "UnknownScheme"
"""spec.model.source has a scheme that Slipway can't read; the message lists the known ones."""
UNKNOWN_LEVEL = "UnknownLevel"
"""spec.optimize.level is no level of llama.cpp, or one that can't be made; the message names the nearest."""
QUALITY_UNKNOWN = "QualityUnknown"
"""The loss of what is served was not measured: there is no unquantised model to compare with, or no memory
to do it. A warning; with maxQualityLoss it is not served."""
UNKNOWN_ENGINE = "UnknownEngine"
"""spec.engine.name is no engine; the message lists the known ones."""
RESERVED_ARGUMENT = "ReservedArgument"
"""spec.engine.args names an argument that Slipway sets itself."""
NAME_CONFLICT = "NameConflict"
"""An object of a child's name is there and is not ours; it is never touched. Rename one of the two."""
STORE_TOO_SMALL = "StoreTooSmall"
"""spec.store.size is less than the artifacts need; no claim was made."""

DRAFT_VOCABULARY = "DraftVocabulary"
"""The draft has another vocabulary than the model: its guesses would mean other words."""
COMPANION_MISMATCH = "CompanionMismatch"
"""Heads or an adapter were made for another model, or guess fewer tokens than the spec asks for."""
ADAPTER_MISMATCH = "AdapterMismatch"
"""An adapter that is to be merged was made for another model: by its name, its hidden size or its tensors."""

# What the planner can't do.
NOTHING_FITS = "NothingFits"
"""No node can hold any allowed plan; the message names the nearest miss."""
NO_NODES = "NoNodes"
"""No schedulable node is known."""

POOL_FULL = "PoolFull"
"""Pods of a pool found no node: its replicas are in the next pool, and it is tried again."""

# What the source answers.
REPOSITORY_NOT_FOUND = "RepositoryNotFound"
"""The hub has no such repository, or hides it from this credential."""
REVISION_NOT_FOUND = "RevisionNotFound"
"""The repository has no such branch, tag or commit."""
GATED_REPOSITORY = "GatedRepository"
"""The repository wants a token (spec.model.secretRef) of somebody who accepted its terms."""
TOKEN_REJECTED = "TokenRejected"  # noqa: S105 - a reason, no secret
"""The hub refused the token. Correct the Secret: Slipway goes on by itself."""
SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, no secret
"""spec.model.secretRef names a Secret that is not there; one without the key token is as good as none."""
NO_CONFIG = "NoConfig"
"""The repository has no config.json."""
NO_WEIGHTS = "NoWeights"
"""The repository has no safetensors files."""
PICKLE_ONLY = "PickleOnly"
"""The weights are pickle files, which can run code; safetensors are needed."""
UNSUPPORTED_ARCHITECTURE = "UnsupportedArchitecture"
"""No engine serves this architecture."""
UNSUPPORTED_QUANTIZATION = "UnsupportedQuantization"
"""The weights are quantised already, in a way that can't be converted."""
TRUNCATED_WEIGHTS = "TruncatedWeights"
"""A weights file is shorter than its header says."""
HUB_UNAVAILABLE = "HubUnavailable"
"""The hub does not answer. Transient: tried again until it does."""

# What Jobs and pods meet.
STORE_FULL = "StoreFull"
"""The claim is full. Set spec.store.size."""
OUT_OF_MEMORY = "OutOfMemory"
"""A container was killed for memory."""
UNSCHEDULABLE = "Unschedulable"
"""The scheduler finds no node; the message has its own words."""
IMAGE_PULL_FAILED = "ImagePullFailed"
"""An image can't be pulled; the message has the kubelet's own words."""
STORE_CANNOT_SPREAD = "StoreCannotSpread"
"""A volume is bound to nodes that can't take the pod; the message names the ModelArtifact to build anew."""
POD_REFUSED = "PodRefused"
"""The cluster creates no pod for a Job: a quota or an admission policy refuses it."""
EVICTED = "Evicted"
"""The kubelet ended a Job's pod because its node ran out of memory or disk; tried a few times."""
CONTAINER_CONFIG_ERROR = "ContainerConfigError"
"""A container can't be made, for example for a missing Secret or ConfigMap."""
CONTAINER_CREATING = "ContainerCreating"
"""A container is not made for a minute: an image, a volume or a ConfigMap is waited for."""
CRASH_LOOP = "CrashLoop"
"""The engine exits again and again; the message has its last words."""
DEADLINE_EXCEEDED = "DeadlineExceeded"
"""A Job ran longer than it may."""
INTERNAL_ERROR = "InternalError"
"""A bug of Slipway or of a tool; tried a few times, then reported with the tool's last words."""
APPLY_REJECTED = "ApplyRejected"
"""The API server refused a write, such as for a quota or an admission policy; the message has its words."""
QUALITY_BELOW_GATE = "QualityBelowGate"
"""The measured loss is above spec.optimize.maxQualityLoss; what served before goes on."""
CHECKS_FAILED = "ChecksFailed"
"""Rules of the production checklist failed; status.checklist has value, threshold and fix."""

FROM_JOBS: Mapping[str, str] = MappingProxyType(contract.REASONS)
"""What else a stage can end with, reason to doc line: said where the Jobs read it too, passed on as it is."""
