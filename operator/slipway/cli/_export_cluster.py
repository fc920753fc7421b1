"""What an export asks the cluster: the model, its artifacts, the pods that serve them. For export."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import aiohttp

from slipway.api.validate import suggest
from slipway.cli._cluster import UnreadableError, cause_of, namespace_of, no_whole, read_endpoint, unreadable
from slipway.cli._export_copy import ExportError, read_small
from slipway.cli._export_exec import SILENCE_SECONDS, Container, CutError, run_in
from slipway.errors import ApiError, NotFoundError
from slipway.kube import Kube, Raw
from slipway.manifests import names
from slipway.manifests.deployment import CONTAINER, MODEL_PATH, selector
from slipway.manifests.jobs import form_of
from slipway.resources import ARTIFACT, MODEL, POD
from slipway_runtime.contract import MANIFEST
from slipway_runtime.files import FileEntry
from slipway_runtime.methods import GGUF


@dataclass(frozen=True)
class Origin:
    """What is exported.

    Attributes:
        model: the ModelDeployment.
        artifact: the ModelArtifact that its pods serve.
    """

    model: Raw
    artifact: Raw

    @property
    def namespace(self) -> str:
        """Of both."""
        return str(self.model["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Of the ModelDeployment."""
        return str(self.model["metadata"]["name"])

    @property
    def digest(self) -> str:
        """sha256 of the artifact's manifest, ``sha256:…``."""
        return str(self.artifact["status"]["digest"])

    @property
    def level(self) -> str:
        """Of the artifact; a source has none."""
        return level_of(self.artifact)

    @property
    def is_gguf(self) -> bool:
        """Whether it is GGUF: made by a method that leaves it, or come so: of sources these have a level."""
        recipe = self.artifact["spec"]["recipe"]
        if recipe["method"] == "source":
            return bool(recipe.get("level"))
        return form_of(recipe["method"]) == GGUF


@dataclass
class Pods:
    """The files of the artifact, read in whatever pod serves it now."""

    kube: Kube
    session: aiohttp.ClientSession
    origin: Origin
    pod: str = ""

    async def read(self, path: str, offset: int) -> AsyncGenerator[bytes, None]:
        """A file from this byte on; a pod that cuts it is left, the next call looks for another.

        Raises:
            CutError: no pod serves it now, or the stream was cut.
            CommandError: it can't be read.
        """
        self.pod = self.pod or await self._find()
        container = Container(self.origin.namespace, self.pod, CONTAINER)
        command = ("tail", "-c", f"+{offset + 1}", f"{MODEL_PATH}/{path}")
        try:
            output = run_in(self.session, self.kube.endpoint, container, command, SILENCE_SECONDS)
            async with aclosing(output) as chunks:
                async for chunk in chunks:
                    yield chunk
        except CutError:
            self.pod = ""
            raise

    async def _find(self) -> str:
        try:
            found = await read_pods(self.kube, self.origin.namespace, self.origin.name)
        except ApiError as error:
            raise CutError(f"no answer from {self.kube.endpoint.server}: {cause_of(error)}") from error
        ready = [pod for pod in found if is_ready(pod) and digest_of(pod) == self.origin.digest]
        if not ready:
            raise CutError(f"no engine pod of {self.origin.name} that serves this artifact is ready")
        return str(ready[0]["metadata"]["name"])


async def connect(args: argparse.Namespace) -> Kube:
    """The cluster of the kubeconfig.

    Raises:
        UnreadableError: there is none.
    """
    return Kube(await read_endpoint(args))


async def find(kube: Kube, args: argparse.Namespace) -> Origin:
    """The model, and the artifact that is exported.

    Raises:
        UnreadableError: no such model, no pod that serves it, or another level than the wished one.
    """
    namespace = args.namespace or namespace_of(args)
    try:
        model = await _read_model(kube, namespace, args.name)
        artifacts = await _read_artifacts(kube, model)
        pods = await read_pods(kube, namespace, args.name)
    except ApiError as error:
        raise unreadable(error, kube.endpoint.server, args.name) from error
    return choose(model, artifacts, pods, args.level)


async def _read_model(kube: Kube, namespace: str, name: str) -> Raw:
    try:
        return await kube.get(MODEL, namespace, name)
    except NotFoundError as error:
        listed = await kube.list_page(MODEL, namespace, {"limit": "50"})
        known = [str(one["metadata"]["name"]) for one in listed["items"]]
        there = suggest(name, known) if known else "there is none; is this the right --namespace?"
        raise UnreadableError(f"no ModelDeployment {name} in namespace {namespace}: {there}") from error


async def _read_artifacts(kube: Kube, model: Raw) -> list[Raw]:
    """Those of the model that are there and have a digest."""
    found = []
    for summary in (model.get("status") or {}).get("artifacts") or []:
        try:
            artifact = await kube.get(ARTIFACT, model["metadata"]["namespace"], summary["name"])
        except NotFoundError:
            continue
        if (artifact.get("status") or {}).get("digest"):
            found.append(artifact)
    return found


async def read_pods(kube: Kube, namespace: str, name: str) -> list[Raw]:
    """The model's engine pods that stay."""
    wanted = ",".join(f"{key}={value}" for key, value in selector(name).items())
    listed = await kube.list_page(POD, namespace, {"labelSelector": wanted, "limit": "500"})
    return [pod for pod in listed["items"] if "deletionTimestamp" not in pod["metadata"]]


def choose(model: Raw, artifacts: Sequence[Raw], pods: Sequence[Raw], level: str | None) -> Origin:
    """The artifact of the wished level, else of the planned one, that a ready pod serves.

    Raises:
        UnreadableError: there is none; the message says what there is.
    """
    no_whole(model)
    name = model["metadata"]["name"]
    ready = {digest_of(pod) for pod in pods if is_ready(pod)}
    if not ready:
        raise UnreadableError(f"no engine pod of {name} is ready, and they hold the files: {_why(model)}")
    served = [each for each in artifacts if each["status"]["digest"] in ready]
    if not served:
        raise UnreadableError(f"the pods of {name} serve an artifact that it no longer names: {_why(model)}")
    if level:
        wished = [each for each in served if level_of(each).lower() == level.lower()]
        if not wished:
            raise UnreadableError(_other_level(name, level, served, artifacts))
        return Origin(model, wished[0])
    planned = str(((model.get("status") or {}).get("plan") or {}).get("level") or "")
    return Origin(model, next((each for each in served if level_of(each) == planned), served[0]))


def _other_level(name: str, level: str, served: Sequence[Raw], artifacts: Sequence[Raw]) -> str:
    serves = ", ".join(level_of(each) for each in served)
    kept = any(level_of(each).lower() == level.lower() for each in artifacts)
    there = ", though it is built" if kept else ""
    return (
        f"{name} serves {serves}, not {level}{there}: only what a pod serves can be exported; leave "
        f"--level out, or set spec.optimize.level to {level} and wait until it is ready"
    )


def _why(model: Raw) -> str:
    """The first condition that says why no pod answers, and what to do."""
    status, spec = model.get("status") or {}, model.get("spec") or {}
    name = model["metadata"]["name"]
    if spec.get("replicas") == 0 and not spec.get("autoscaling"):
        return f"it has 0 replicas; `kubectl scale mdl/{name} --replicas=1`, then export again"
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    order = ("Ready", "Available", "ArtifactReady", "Planned", "SourceResolved")
    said = [conditions[kind] for kind in reversed(order) if kind in conditions]
    first = next((one for one in said if one.get("status") != "True"), None)
    if first is None:
        return f"`kubectl get pods -l {names.MODEL}={name}` shows them"
    return f"{first['type']} is {first['status']}, {first.get('reason', '')}: {first.get('message', '')}"


def is_ready(pod: Raw) -> bool:
    """Whether it answers requests."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def digest_of(pod: Raw) -> str:
    """Digest of the artifact that the pod serves."""
    return str((pod["metadata"].get("annotations") or {}).get(names.ARTIFACT_DIGEST) or "")


def level_of(artifact: Raw) -> str:
    """Q4_K_M or the like; a source has no level, and is called so."""
    recipe = artifact["spec"]["recipe"]
    return str(recipe.get("level") or recipe["method"])


async def read_manifest(pods: Pods) -> tuple[bytes, list[FileEntry]]:
    """The artifact's manifest, byte for byte and as entries.

    Raises:
        ExportError: it is not the one that was published.
    """
    data = await read_small(pods.read, MANIFEST)
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if found != pods.origin.digest:
        raise ExportError(
            f"{MANIFEST} in pod {pods.pod} has {found}, but ModelArtifact "
            f"{pods.origin.artifact['metadata']['name']} was published with {pods.origin.digest}: the volume "
            "is damaged. Delete the ModelArtifact with its claim to build it again"
        )
    listed: Any = json.loads(data)["files"]
    entries = [FileEntry(one["path"], one["bytes"], one["sha256"]) for one in listed]
    for entry in entries:
        path = PurePosixPath(entry.path)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.path:
            raise ExportError(
                f"{MANIFEST} names {entry.path}, which leads out of the folder: nothing was copied"
            )
    return data, entries


async def read_text(pods: Pods, entries: Sequence[FileEntry], path: str) -> str:
    """A small file of the artifact; empty when it has none.

    Raises:
        ExportError: its bytes are not those that were published.
    """
    entry = next((each for each in entries if each.path == path), None)
    if entry is None:
        return ""
    data = await read_small(pods.read, path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ExportError(f"{path} in pod {pods.pod} differs from its sha256 in {MANIFEST}: export it again")
    return data.decode("utf-8")
