"""What a pass is given: frozen snapshots of one object of ours and all that belongs to it.

Read by ``passes``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slipway.manifests.leader_worker_set import set_name
from slipway.plan.facts import NodeFacts
from slipway.plan.workload import counts

Raw = dict[str, Any]
"""A Kubernetes object as JSON, trimmed. Nobody changes one: a snapshot shares them with the cache."""


@dataclass(frozen=True)
class Credential:
    """The Secret that the spec names, without its value.

    Attributes:
        version: resourceVersion, empty when the Secret does not exist.
        user: ModelDeployment that names it.
        keys: what its content must be called.
    """

    name: str
    version: str
    user: str = ""
    keys: str = "token"

    @property
    def stamp(self) -> str:
        """What changes when the credential does: another Secret, or other content."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class JobObserved:
    """A Job of ours, its pods, and the end of the running pod's log (empty when not read)."""

    job: Raw
    pods: tuple[Raw, ...] = ()
    tail: str = ""


@dataclass(frozen=True)
class NodeObserved:
    """A node's facts and its conditions, type to status."""

    facts: NodeFacts
    conditions: Mapping[str, str] = field(default_factory=dict)


def workloads(children: Iterable[Raw], name: str) -> tuple[Raw, ...]:
    """Deployment and LeaderWorkerSet of a ModelDeployment, as far as they exist, what answers first.

    Both exist while one takes the place of the other.
    """
    names = {"Deployment": name, "LeaderWorkerSet": set_name(name)}
    found = [raw for raw in children if names.get(raw["kind"]) == raw["metadata"]["name"]]
    return tuple(sorted(found, key=lambda raw: not counts(raw).available))


@dataclass(frozen=True)
class ModelObserved:
    """A ModelDeployment and what belongs to it.

    Attributes:
        model: the object.
        revisions: its ControllerRevisions, oldest first.
        known: a ControllerRevision of anybody in the namespace for this very source at this very commit.
        artifacts: name to ModelArtifact, those that its revisions list and that exist.
        claims: name to PersistentVolumeClaim of these artifacts.
        jobs: inspect and benchmark Jobs.
        children: Deployment or LeaderWorkerSet, Service and so on with our owner reference.
        engine_pods: pods of the engine.
        pools: ModelDeployments of its pools; pool_pods: name of one to its engine's pods.
        crash_logs: pod uid to the log of its engine's last crash, where the last words say too little.
        engines: ServingEngines of the cluster, by name.
        groups: the cluster knows LeaderWorkerSets.
        namespace_labels: None when the Namespace could not be read.
        credential: None when the spec names none or nothing needs it now.
    """

    model: Raw
    revisions: tuple[Raw, ...] = ()
    known: Raw | None = None
    artifacts: Mapping[str, Raw] = field(default_factory=dict)
    claims: Mapping[str, Raw] = field(default_factory=dict)
    jobs: tuple[JobObserved, ...] = ()
    children: tuple[Raw, ...] = ()
    engine_pods: tuple[Raw, ...] = ()
    pools: tuple[Raw, ...] = ()
    pool_pods: Mapping[str, tuple[Raw, ...]] = field(default_factory=dict)
    crash_logs: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[NodeObserved, ...] = ()
    engines: tuple[Raw, ...] = ()
    groups: bool = False
    namespace_labels: Mapping[str, str] | None = None
    credential: Credential | None = None

    @cached_property
    def workload(self) -> Raw | None:
        """What keeps the engine's pods, if something does: rather what answers."""
        return next(iter(workloads(self.children, str(self.model["metadata"]["name"]))), None)


@dataclass(frozen=True)
class User:
    """A ModelDeployment that uses an artifact, or did.

    Attributes:
        revision: its newest revision that lists the artifact and is current or runs; None when none does.
        planned: it has a revision at all; without one, nothing can be said of ``revision``.
        lasting: ``revision`` is the one of the present spec: no other look is needed.
    """

    model: Raw
    revision: Raw | None
    planned: bool
    lasting: bool = True


@dataclass(frozen=True)
class ArtifactObserved:
    """A ModelArtifact and what belongs to it.

    Attributes:
        users: ModelDeployments that live and use it by a revision or an owner reference.
        parent: the artifact that it is made from; None when it has none or it is absent.
        inputs: further artifacts that it is made of, by the method's name for them; those that exist.
        jobs: its stage Jobs.
        children: its NetworkPolicy.
        credential: of a user that names a Secret, rather of one whose Secret exists and who waits.
        store_credential: of the registry or bucket that keeps it; None when it names none, or is ready.
        holders: pods that mount the claim, ended ones included: those hold it, too.
        holding: the Jobs of those that ended.
    """

    artifact: Raw
    users: tuple[User, ...] = ()
    parent: Raw | None = None
    inputs: Mapping[str, Raw] = field(default_factory=dict)
    claim: Raw | None = None
    children: tuple[Raw, ...] = ()
    jobs: tuple[JobObserved, ...] = ()
    credential: Credential | None = None
    store_credential: Credential | None = None
    holders: tuple[Raw, ...] = ()
    holding: tuple[Raw, ...] = ()
