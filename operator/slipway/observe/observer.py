"""Runs the reflectors and answers with snapshots: what the pass sees of the cluster. Started by ``serve``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slipway import resources
from slipway.kube import Kube, Raw
from slipway.manifests.names import POOL_OF
from slipway.observe import kinds, routes, users
from slipway.observe.crashes import CrashLogs
from slipway.observe.devices import DevicePods
from slipway.observe.observed import (
    ArtifactObserved,
    JobObserved,
    ModelObserved,
    NodeObserved,
    User,
    workloads,
)
from slipway.observe.reads import Reads
from slipway.observe.reflector import SILENCE_SECONDS, Reflector, same
from slipway.observe.store import Store
from slipway.plan.nodes import node_facts
from slipway.plan.usage import devices_used, with_usage
from slipway.queue import Key
from slipway.resources import Resource


class Observer:
    """The cache of every kind, and the snapshots over it.

    Args:
        namespaces: those to serve; empty for all.
        enqueue: called with the key of every object of ours that an event may concern.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        kube: Kube,
        namespaces: Sequence[str],
        enqueue: Callable[[Key], None],
        clock: Callable[[], float],
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._enqueue = enqueue
        self._reads = Reads(kube, clock)
        self._stores = {watched.resource.kind: Store(watched.index) for watched in kinds.WATCHED}
        self._trims = {watched.resource.kind: watched.trim for watched in kinds.WATCHED}
        self._nodes: dict[str, tuple[Raw, NodeObserved]] = {}
        self._crashes = CrashLogs(kube)
        self._devices = DevicePods(kube, clock)
        self._reflectors = [
            Reflector(
                kube,
                watched,
                self._stores[watched.resource.kind],
                self._notify,
                namespace=namespace,
                silence_seconds=silence_seconds,
            )
            for watched in kinds.WATCHED
            for namespace in (namespaces or (None,) if watched.resource.namespaced else (None,))
        ]

    async def run(self) -> None:
        """Keep the caches true until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    async def synced(self) -> None:
        """Return once every kind was listed."""
        for reflector in self._reflectors:
            await reflector.synced.wait()

    @property
    def in_sync(self) -> bool:
        """Whether every kind was listed."""
        return all(reflector.synced.is_set() for reflector in self._reflectors)

    def store(self, resource: Resource) -> Store:
        """The cache of one kind."""
        return self._stores[resource.kind]

    def remember(self, raw: Raw) -> None:
        """Take the API server's answer to our own write in, before its watch event, which then is no news."""
        kind = raw["kind"]
        if kind in self._stores:
            trimmed = self._trims[kind](raw)
            trimmed["apiVersion"], trimmed["kind"] = raw["apiVersion"], kind
            taken, old = self._stores[kind].put(trimmed)
            if taken and not same(old, trimmed):
                self._notify(old, trimmed)

    def own_keys(self) -> list[Key]:
        """Every object of ours."""
        ours = (resources.MODEL, resources.ARTIFACT)
        return [routes.key_of(raw) for resource in ours for raw in self.store(resource)]

    async def snapshot_model(self, key: Key) -> ModelObserved | None:
        """The ModelDeployment and all that belongs to it; None when there is none, or it is being deleted."""
        model = self.store(resources.MODEL).get(key.namespace, key.name)
        if model is None or self._going(model):
            return None
        uid = model["metadata"]["uid"]
        revisions = sorted(
            self.store(resources.REVISION).find(f"owner:{uid}"), key=lambda raw: int(raw.get("revision", 0))
        )
        names = {name for raw in revisions for name in kinds.listed_artifacts(raw)}
        names |= {str(raw["metadata"]["name"]) for raw in self.store(resources.ARTIFACT).find(f"owner:{uid}")}
        names |= users.compared_whole(model, self.store(resources.ARTIFACT))
        namespace = self.store(resources.NAMESPACE).get("", key.namespace)
        pools = self.store(resources.MODEL).find(f"owner:{uid}")
        pods = self._engine_pods(model)
        return ModelObserved(
            model=model,
            revisions=tuple(revisions),
            known=self._known(model),
            artifacts=self._named(resources.ARTIFACT, key.namespace, names),
            claims=self._named(resources.CLAIM, key.namespace, names),
            jobs=await self._jobs(uid),
            children=tuple(
                raw for resource in resources.SERVING for raw in self.store(resource).find(f"owner:{uid}")
            ),
            engine_pods=pods,
            pools=pools,
            pool_pods={str(one["metadata"]["name"]): self._engine_pods(one) for one in pools},
            crash_logs=await self._crashes.of(pods),
            nodes=await self._nodes_for(model),
            groups=self._knows(resources.LEADER_WORKER_SET),
            engines=tuple(sorted(self.store(resources.ENGINE), key=lambda raw: str(raw["metadata"]["name"]))),
            namespace_labels=namespace["metadata"].get("labels", {}) if namespace else None,
            credential=await self._reads.credential(model),
        )

    async def snapshot_artifact(self, key: Key) -> ArtifactObserved | None:
        """The ModelArtifact and all that belongs to it; None when there is none, or it is being deleted."""
        artifact = self.store(resources.ARTIFACT).get(key.namespace, key.name)
        if artifact is None or self._going(artifact):
            return None
        found = self._users(artifact)
        parent = artifact["spec"].get("parent")
        holders = self.store(resources.POD).find(f"claim:{key.namespace}/{key.name}")
        return ArtifactObserved(
            artifact=artifact,
            users=found,
            parent=self.store(resources.ARTIFACT).get(key.namespace, parent) if parent else None,
            inputs=kinds.inputs_of(artifact, self.store(resources.ARTIFACT).get),
            claim=await self._claim(artifact),
            children=self.store(resources.NETWORK_POLICY).find(f"owner:{artifact['metadata']['uid']}"),
            jobs=await self._jobs(artifact["metadata"]["uid"]),
            credential=None if parent else await self._reads.shared_credential(artifact, found),
            store_credential=await self._reads.store_credential(artifact),
            holders=holders,
            holding=self._ended_jobs(holders),
        )

    async def _claim(self, artifact: Raw) -> Raw | None:
        meta = artifact["metadata"]
        held = self.store(resources.CLAIM).get(meta["namespace"], meta["name"])
        content = (artifact.get("status") or {}).get("completed")
        # Without its label, which a hand may take off, it seems gone: nothing is forgotten before a look.
        return await self._reads.claim(artifact) if held is None and content else held

    def _going(self, raw: Raw) -> bool:
        """Whether the object is being deleted, or its whole namespace, which then takes nothing new."""
        namespace = self.store(resources.NAMESPACE).get("", raw["metadata"]["namespace"]) or {"metadata": {}}
        return any("deletionTimestamp" in one["metadata"] for one in (raw, namespace))

    def _known(self, model: Raw) -> Raw | None:
        wished = model["spec"].get("model") or {}
        entry = f"source:{model['metadata']['namespace']}/{wished.get('source')}@{wished.get('revision')}"
        found = self.store(resources.REVISION).find(entry)
        return found[0] if found else None

    def _users(self, artifact: Raw) -> tuple[User, ...]:
        meta = artifact["metadata"]
        listing = self.store(resources.REVISION).find(f"artifact:{meta['namespace']}/{meta['name']}")
        listed = users.by_owner(listing)
        owning = {ref["uid"] for ref in meta.get("ownerReferences", ())}
        comparing = users.comparing(artifact, self.store(resources.ARTIFACT), self.store(resources.MODEL))
        models = (
            model
            for uid in listed.keys() | owning | comparing
            for model in self.store(resources.MODEL).find(f"uid:{uid}")
        )
        living = (model for model in models if "deletionTimestamp" not in model["metadata"])
        found = []
        for model in sorted(living, key=lambda raw: str(raw["metadata"]["name"])):
            uid = model["metadata"]["uid"]
            revisions = self.store(resources.REVISION).find(f"owner:{uid}")
            uses = users.uses(model, listed.get(uid, ()), revisions, compares=uid in comparing)
            found.append(users.user(model, self._workload(model), uses, planned=bool(revisions)))
        return tuple(found)

    def _engine_pods(self, model: Raw) -> tuple[Raw, ...]:
        meta = model["metadata"]
        return self.store(resources.POD).find(f"model:{meta['namespace']}/{meta['name']}")

    def _workload(self, model: Raw) -> Raw | None:
        uid, name = model["metadata"]["uid"], str(model["metadata"]["name"])
        kept = (resources.DEPLOYMENT, resources.LEADER_WORKER_SET)
        held = (raw for resource in kept for raw in self.store(resource).find(f"owner:{uid}"))
        return next(iter(workloads(held, name)), None)

    def _knows(self, resource: Resource) -> bool:
        """Whether the cluster has this optional kind."""
        return any(one.present for one in self._reflectors if one.kind == resource.kind)

    def _named(self, resource: Resource, namespace: str, names: set[str]) -> dict[str, Raw]:
        store = self.store(resource)
        found = ((name, store.get(namespace, name)) for name in sorted(names))
        return {
            name: raw for name, raw in found if raw is not None and "deletionTimestamp" not in raw["metadata"]
        }

    def _ended_jobs(self, pods: tuple[Raw, ...]) -> tuple[Raw, ...]:
        names = {
            (pod["metadata"]["namespace"], str(pod["metadata"].get("labels", {}).get(kinds.JOB_LABEL)))
            for pod in pods
            if pod["status"].get("phase") in ("Succeeded", "Failed")
        }
        found = (self.store(resources.JOB).get(*name) for name in sorted(names))
        return tuple(job for job in found if job is not None)

    async def _jobs(self, owner_uid: str) -> tuple[JobObserved, ...]:
        found = []
        for job in self.store(resources.JOB).find(f"owner:{owner_uid}"):
            meta = job["metadata"]
            found.append((job, self.store(resources.POD).find(f"job:{meta['namespace']}/{meta['name']}")))
        tails = await asyncio.gather(*(self._reads.tail(pods) for _, pods in found))
        return tuple(JobObserved(job, pods, tail) for (job, pods), tail in zip(found, tails, strict=True))

    async def _nodes_for(self, model: Raw) -> tuple[NodeObserved, ...]:
        """All nodes; for a model that may have to be planned, with the devices that pods of others have."""
        nodes = self._node_facts()
        names = [one.facts.name for one in nodes if one.facts.gpus]
        if not names or _ready(model):
            return nodes
        meta = model["metadata"]
        pools = self.store(resources.MODEL).find(f"owner:{meta['uid']}")
        labels = meta.get("labels") or {}
        # What makes room for it: its own pods, those of the whole that it is a pool of, those of its pools.
        family = {
            meta["name"],
            labels.get(POOL_OF, meta["name"]),
            *(one["metadata"]["name"] for one in pools),
        }

        def own(pod: Mapping[str, Any]) -> bool:
            label = (pod.get("labels") or {}).get(kinds.MODEL_LABEL)
            return bool(pod.get("namespace") == meta["namespace"] and label in family)

        used = devices_used(await self._devices.on(names), own)
        facts = with_usage([one.facts for one in nodes], used)
        return tuple(replace(one, facts=fresh) for one, fresh in zip(nodes, facts, strict=True))

    def _node_facts(self) -> tuple[NodeObserved, ...]:
        observed = []
        for raw in self.store(resources.NODE):
            name = raw["metadata"]["name"]
            held = self._nodes.get(name)
            if held is None or held[0] is not raw:
                conditions = {one["type"]: one["status"] for one in raw["status"]["conditions"]}
                held = self._nodes[name] = (raw, NodeObserved(node_facts(raw), conditions))
            observed.append(held[1])
        return tuple(sorted(observed, key=lambda node: node.facts.name))

    def _notify(self, old: Raw | None, new: Raw | None) -> None:
        for key in routes.keys(self._stores, old, new):
            self._enqueue(key)
        for artifact in users.superseded(old, new, self.store(resources.ARTIFACT)):
            self._enqueue(routes.key_of(artifact))


def _ready(model: Raw) -> bool:
    """Whether the model answers as it is specified now: nothing is to be planned."""
    generation = model["metadata"].get("generation")
    return any(
        one["type"] == "Ready" and one["status"] == "True" and one.get("observedGeneration") == generation
        for one in (model.get("status") or {}).get("conditions", ())
    )
