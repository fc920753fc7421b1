"""The only writer: server-side apply of children, create-only objects, status, events.

Called by ``reconcile``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from slipway import drift, managed, metrics
from slipway.api import API_VERSION, bounds
from slipway.api.base import Model
from slipway.api.deploymentstatus import ModelDeploymentStatus
from slipway.api.modelartifact import ModelArtifactStatus
from slipway.errors import (
    ApiError,
    ConflictError,
    LeftoverError,
    NameTakenError,
    NotFoundError,
    RejectedError,
)
from slipway.kube import ABSENT, Kube, Raw
from slipway.manifests import held
from slipway.resources import BY_KIND, EVENT

LOG = logging.getLogger(__name__)
_STATUS: Final[Mapping[str, type[Model]]] = {
    "ModelDeployment": ModelDeploymentStatus,
    "ModelArtifact": ModelArtifactStatus,
}
CONTROLLER: Final = "slipway.dev/operator"
REPLICAS_MANAGER: Final = "slipway-replicas"
"""Field manager that holds replicas between us and an autoscaler."""
NOTE_LIMIT: Final = 1024
"""Bytes of an Event's note that the API server takes."""


class Applier:
    """Writes.

    Args:
        remember: takes the API server's answers into the cache, so that the next pass sees what this one
            wrote.
        instance: name of this replica, for events.
    """

    def __init__(self, kube: Kube, remember: Callable[[Raw], None], instance: str) -> None:
        self._kube = kube
        self._remember = remember
        self._instance = instance

    async def apply_child(self, desired: Raw, observed: Raw | None, owner_uid: str) -> bool:
        """Make a child what is wished; returns whether a write was needed.

        Args:
            desired: the whole child as built.
            owner_uid: of the object of ours that it belongs to.
            observed: the child as cached; None when the cache has none of ours.

        Raises:
            NameTakenError: a foreign object has the name.
            LeftoverError: a deleted owner's object has the name.
            ApiError: the write was refused or not answered.
        """
        wished = drift.stamped(desired)
        if drift.settled(wished, observed) or held.overruled(wished, observed):
            return False
        resource, meta = BY_KIND[wished["kind"]], wished["metadata"]
        found = observed or await self._look(wished)
        # The API server refuses with a conflict if since we looked this object was replaced, or one came.
        same = {"resourceVersion": ABSENT}
        if found is not None:
            _demand_ours(found, wished, owner_uid)
            same = {"uid": found["metadata"]["uid"]}
        body = {**wished, "metadata": {**meta, **same}}
        try:
            answer = await self._kube.apply(resource, body)
        except RejectedError as error:
            if found is None or error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            taken = await self._apply_alone(body, owner_uid)
            if taken is None:
                raise  # nobody else has a part in it: it is our wish that is refused
            answer = taken
        others = wished["kind"] in drift.EXACT and managed.spec_taken_over(answer, body["spec"])
        if others and not drift.settled(wished, answer):
            answer = await self._apply_alone(body, owner_uid) or answer
        if not drift.settled(wished, answer):  # admission made something else of it
            same = {"uid": answer["metadata"]["uid"]}
            marked = held.build_mark({**wished, "metadata": {**meta, **same}}, answer)
            answer = await self._kube.apply(resource, marked)
        self._remember(answer)
        _log("applied", body, "it differed from what is wished" if found else "it was not there")
        return True

    async def _apply_alone(self, body: Raw, owner_uid: str) -> Raw | None:
        """Take over what others wrote into the spec of a child of ours, and apply; None when nobody did.

        An apply merges: a port or a probe's handler that a hand put in the place of ours stays beside ours as
        its field, and the API server refuses the sum, or keeps it. As a field of ours that is not wished, it
        goes.
        """
        found = await self._look(body)
        if found is None:
            return None
        _demand_ours(found, body, owner_uid)
        fields = managed.spec_taken_over(found, body["spec"])
        if not fields:
            return None
        resource = BY_KIND[body["kind"]]
        await self._kube.replace_parts(resource, found, {"/metadata/managedFields": fields})
        _log("fields taken over", body, "what others wrote can't be merged with what is wished")
        return await self._kube.apply(resource, body)

    async def create(self, body: Raw, owner_uid: str) -> bool:
        """Create an object that is never changed; returns whether it was new.

        Raises:
            NameTakenError: a foreign object has the name.
            LeftoverError: a deleted owner's object has the name.
        """
        try:
            self._remember(await self._kube.create(BY_KIND[body["kind"]], body))
        except ConflictError:
            found = await self._look(body)
            if found is None:
                raise
            _demand_ours(found, body, owner_uid)
            self._remember(found)
            if body["kind"] != "ModelArtifact":  # a shared one may be a person's, and is seen without labels
                await self.relabel(found, body["metadata"].get("labels", {}))
            return False
        _log("created", body, "it was not there")
        return True

    async def relabel(self, raw: Raw, labels: Mapping[str, str]) -> None:
        """Give an object of ours the labels back that it lacks: by them, the cache sees it.

        A refused write is logged and counted: the pass goes on with what is known.
        """
        meta = raw["metadata"]
        lacks = {key: value for key, value in labels.items() if meta.get("labels", {}).get(key) != value}
        if not lacks:
            return
        body = {"metadata": {"uid": meta["uid"], "labels": lacks}}  # another one of its name is refused
        resource = BY_KIND[raw["kind"]]
        try:
            self._remember(await self._kube.merge_patch(resource, meta["namespace"], meta["name"], body))
        except RejectedError as error:
            count_refused(raw["kind"], error)
            return
        _log("labelled", raw, f"it lacked {', '.join(sorted(lacks))}")

    async def keep_replicas(self, raw: Raw) -> None:
        """Hold a Deployment's replica count by another field manager before our apply leaves the field out.

        A field that loses its only manager falls back to its default: two replicas would be one until the
        autoscaler has counted. The autoscaler's first change takes the field over.
        """
        meta = raw["metadata"]
        body = {
            "apiVersion": raw["apiVersion"],
            "kind": raw["kind"],
            # With the version, a count that the autoscaler has changed since is not turned back.
            "metadata": {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")},
            "spec": {"replicas": raw["spec"]["replicas"]},
        }
        self._remember(await self._kube.apply(BY_KIND[raw["kind"]], body, manager=REPLICAS_MANAGER))
        _log("replicas held", raw, f"{raw['spec']['replicas']} until the autoscaler counts")

    async def delete(self, raw: Raw) -> None:
        """Delete this very object."""
        meta = raw["metadata"]
        await self._kube.delete(BY_KIND[raw["kind"]], meta.get("namespace"), meta["name"], meta["uid"])
        _log("deleted", raw, "nothing needs it any more")

    async def apply_owners(self, raw: Raw, owners: list[Raw]) -> None:
        """Replace the owner references of a shared object, if nobody else changed it meanwhile."""
        meta = raw["metadata"]
        body = {"metadata": {"resourceVersion": meta["resourceVersion"], "ownerReferences": owners}}
        resource = BY_KIND[raw["kind"]]
        self._remember(await self._kube.merge_patch(resource, meta["namespace"], meta["name"], body))
        _log("owners set", raw, ", ".join(sorted(ref["name"] for ref in owners)))

    async def apply_status(self, raw: Raw, status: Mapping[str, Any]) -> bool:
        """Write the whole status if it differs from the observed one; returns whether it did.

        It is cut to the schema's bounds. Gone counts as done.
        """
        status = bounds.fit(dict(status), _STATUS[raw["kind"]])
        if raw.get("status") == status:
            return False
        meta = raw["metadata"]
        body = {
            "apiVersion": raw["apiVersion"],
            "kind": raw["kind"],
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
            "status": status,
        }
        try:
            self._remember(await self._kube.apply(BY_KIND[raw["kind"]], body, "status"))
        except NotFoundError:
            return False
        _log_conditions(raw, status)
        return True

    async def post_event(self, raw: Raw, kind: str, reason: str, note: str, at: str) -> None:
        """Post an Event about one of our objects; a refused one is logged and counted, never in the way.

        Args:
            raw: the object it is about.
            kind: ``Normal`` or ``Warning``.
            reason: CamelCase, from ``api.reasons``.
            note: text, cut to what the API server takes.
            at: RFC 3339 time with microseconds.
        """
        meta = raw["metadata"]
        regarding = {"apiVersion": API_VERSION, "kind": raw["kind"], "namespace": meta["namespace"]}
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]},
            "eventTime": at,
            "type": kind,
            "reason": reason,
            "action": "Reconcile",
            "note": note.encode()[:NOTE_LIMIT].decode("utf-8", "ignore"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "regarding": {**regarding, "name": meta["name"], "uid": meta["uid"]},
        }
        try:
            await self._kube.create(EVENT, body)
        except ApiError as error:
            count_refused(EVENT.kind, error)

    async def _look(self, body: Raw) -> Raw | None:
        meta = body["metadata"]
        try:
            return await self._kube.get(BY_KIND[body["kind"]], meta.get("namespace"), meta["name"])
        except NotFoundError:
            return None


def count_refused(kind: str, error: ApiError) -> None:
    """Log and count a write that was not taken while its pass goes on."""
    metrics.WRITE_ERRORS.labels(kind, type(error).__name__).inc()
    LOG.warning("write not taken", extra={"child": kind, "error": str(error)})


def _log(done: str, raw: Raw, why: str) -> None:
    """One line for each write: what was done to which object, and why."""
    LOG.info(done, extra={"child": f"{raw['kind']}/{_path(raw)}", "why": why})


def _log_conditions(raw: Raw, status: Mapping[str, Any]) -> None:
    """One line for each condition whose status or reason is another now."""
    old = {one["type"]: one for one in (raw.get("status") or {}).get("conditions") or ()}
    for one in status.get("conditions") or ():
        before = old.get(one["type"], {})
        if any(before.get(part) != one[part] for part in ("status", "reason")):
            fields = {"condition": one["type"], "state": one["status"], "reason": one["reason"]}
            LOG.info(
                "condition", extra={"key": f"{raw['kind']}/{_path(raw)}", **fields, "why": one["message"]}
            )


def _path(raw: Raw) -> str:
    meta = raw["metadata"]
    return f"{meta.get('namespace', '')}/{meta['name']}"


def _demand_ours(found: Raw, body: Raw, owner_uid: str) -> None:
    held = found["metadata"].get("ownerReferences", ())
    # A ModelArtifact may be shared: equal names mean equal content, whoever made it.
    if body["kind"] == "ModelArtifact" or any(ref["uid"] == owner_uid for ref in held):
        return
    ours = {(ref["kind"], ref["name"]) for ref in body["metadata"].get("ownerReferences", ())}
    if any((ref["kind"], ref["name"]) in ours for ref in held):
        raise LeftoverError(body["kind"], body["metadata"]["name"])
    raise NameTakenError(body["kind"], body["metadata"]["name"])
