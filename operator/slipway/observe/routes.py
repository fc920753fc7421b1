"""Which of our objects an event concerns: pure, from the object before and after to keys.

Called by the observer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from slipway.api import GROUP
from slipway.observe.kinds import ARTIFACT_LABEL, COMPONENT_LABEL, MODEL_LABEL, listed_artifacts
from slipway.observe.observed import Raw
from slipway.observe.store import Store
from slipway.queue import Key

MODEL: Final = "ModelDeployment"
ARTIFACT: Final = "ModelArtifact"
Stores = Mapping[str, Store]


def key_of(raw: Raw) -> Key:
    """The object's own key."""
    return Key(raw["kind"], raw["metadata"].get("namespace", ""), raw["metadata"]["name"])


def keys(stores: Stores, old: Raw | None, new: Raw | None) -> set[Key]:
    """Keys to look at after an event.

    Args:
        stores: caches by kind, the event already taken in.
        old: object before, None when it is new.
        new: object after, None when it is gone.
    """
    found: set[Key] = set()
    for raw in (old, new):
        if raw is not None:
            found.update(_concerned(stores, raw, moved=_moved(old, new)))
    about = new or old
    if about is not None and about["kind"] == "Node" and _states(old) != _states(new):
        found.update(_tenants(stores, about["metadata"]["name"]))
    return found


def _concerned(stores: Stores, raw: Raw, *, moved: bool) -> Iterator[Key]:
    match raw["kind"]:
        case "ModelDeployment":
            yield key_of(raw)
            yield from _owners(raw)  # that of a pool: the model with pools
            if moved:  # retry annotation, secretRef, overrides and Kueue's labels reach its artifacts
                yield from _owned_artifacts(stores, raw)
        case "ModelArtifact":
            yield key_of(raw)
            yield from _owners(raw)
            meta = raw["metadata"]
            yield from map(key_of, stores[ARTIFACT].find(f"parent:{meta['namespace']}/{meta['name']}"))
        case "Pod":
            yield from _labelled(raw)
        case "ControllerRevision":
            yield from _owners(raw)
            for name in listed_artifacts(raw):
                yield Key(ARTIFACT, raw["metadata"]["namespace"], name)
        case "ServingEngine":
            name = raw["metadata"]["name"]
            yield from (key_of(model) for model in stores[MODEL] if _names_engine(model, name))
        case "Node":
            yield from (key_of(model) for model in stores[MODEL] if not _planned(model))
        case "Namespace":
            name = raw["metadata"]["name"]
            yield from (key_of(model) for model in stores[MODEL] if model["metadata"]["namespace"] == name)
        case _:
            yield from _owners(raw)


def _tenants(stores: Stores, node: str) -> Iterator[Key]:
    """Models with an engine pod on the node: their checklist judges its disk."""
    for pod in stores["Pod"]:
        labels = pod["metadata"].get("labels", {})
        if pod["spec"].get("nodeName") == node and labels.get(COMPONENT_LABEL) == "engine":
            yield from _labelled(pod)


def _states(node: Raw | None) -> object:
    return ((node or {}).get("status") or {}).get("conditions")


def _owners(raw: Raw) -> Iterator[Key]:
    meta = raw["metadata"]
    for ref in meta.get("ownerReferences", ()):
        if str(ref["apiVersion"]).startswith(f"{GROUP}/"):
            yield Key(ref["kind"], meta["namespace"], ref["name"])


def _labelled(pod: Raw) -> Iterator[Key]:
    meta = pod["metadata"]
    labels = meta.get("labels", {})
    if ARTIFACT_LABEL in labels and "slipway.dev/stage" in labels:
        yield Key(ARTIFACT, meta["namespace"], labels[ARTIFACT_LABEL])
    elif MODEL_LABEL in labels:
        yield Key(MODEL, meta["namespace"], labels[MODEL_LABEL])


def _owned_artifacts(stores: Stores, model: Raw) -> Iterator[Key]:
    return map(key_of, stores[ARTIFACT].find(f"owner:{model['metadata']['uid']}"))


def _moved(old: Raw | None, new: Raw | None) -> bool:
    if old is None or new is None:
        return True
    parts = ("generation", "annotations", "labels")
    return any(old["metadata"].get(part) != new["metadata"].get(part) for part in parts)


def _names_engine(model: Raw, name: str) -> bool:
    return ((model.get("spec") or {}).get("engine") or {}).get("name") == name


def _planned(model: Raw) -> bool:
    conditions = model.get("status", {}).get("conditions", ())
    return any(one["type"] == "Planned" and one["status"] == "True" for one in conditions)
