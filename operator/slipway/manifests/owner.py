"""Who owns a child, and what is served; given to every builder by the rooms that call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slipway.engines import Mounted
from slipway.manifests.places import Place
from slipway.resources import Resource


@dataclass(frozen=True)
class Owner:
    """The object that a child belongs to; the garbage collector removes the child with it.

    Attributes:
        labels: what the pods of its engine bear beside its name: the pool that it is.
    """

    api_version: str
    kind: str
    name: str
    uid: str
    namespace: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class PublishedCompanion:
    """The ready artifact of a companion, whose manifest has ``digest``.

    Attributes:
        place: where it lies.
        key: its name among all companions of the model.
        mounted: as the engine sees it.
    """

    key: str
    mounted: Mounted
    place: Place
    digest: str


@dataclass(frozen=True)
class PublishedArtifact:
    """The ready artifact that is served, whose manifest has ``digest``; ``place`` is where it lies."""

    name: str
    place: Place
    digest: str
    level: str
    companions: tuple[PublishedCompanion, ...] = ()


def owner_reference(owner: Owner, *, controller: bool = True) -> dict[str, Any]:
    """The ownerReference of ``owner``; without ``blockOwnerDeletion``, which needs rights on finalizers."""
    reference: dict[str, Any] = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
    }
    if controller:
        reference["controller"] = True
    return reference


def child(
    owner: Owner,
    resource: Resource,
    labels: dict[str, str],
    *,
    name: str = "",
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What every child of one owner begins with; the rest is its kind's. Named as its owner unless given."""
    metadata: dict[str, Any] = {"name": name or owner.name, "namespace": owner.namespace, "labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    metadata["ownerReferences"] = [owner_reference(owner)]
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
