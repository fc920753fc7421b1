"""The writer against an API that refuses, conflicts or has something else of the name."""

from __future__ import annotations

from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from slipway.api import FIELD_MANAGER
from slipway.apply import Applier
from slipway.errors import ApiError, ConflictError, NameTakenError, NotFoundError, RejectedError
from slipway.kube import ABSENT, Kube
from slipway.resources import Resource

Raw = dict[str, Any]
OWNER = {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelDeployment", "name": "qwen", "uid": "owner"}
OURS = {"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "v1"}
HANDS = {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1"}
UNMERGED = RejectedError(422, "Invalid", "spec.ports[1].name: Duplicate value")


class Api:
    """One object; what is asked of it is kept."""

    def __init__(self, found: Raw | None, *refusals: ApiError | None) -> None:
        self.found = found
        self.refusals = list(refusals)
        self.asked: list[tuple[str, Any]] = []

    async def get(self, *_: object) -> Raw:
        self.asked.append(("get", None))
        if self.found is None:
            raise NotFoundError(404, "NotFound", "not there")
        return self.found

    async def apply(self, _: Resource, body: Raw) -> Raw:
        self._ask("apply", body)
        return {**body, "metadata": {**body["metadata"], "resourceVersion": "9", "uid": "child"}}

    async def create(self, _: Resource, body: Raw) -> Raw:
        self._ask("create", body)
        return body

    async def replace_parts(self, _: Resource, raw: Raw, parts: Raw) -> Raw:
        self._ask("replace", (raw["metadata"]["resourceVersion"], parts))
        return raw

    async def merge_patch(self, _: Resource, __: str, ___: str, body: Raw) -> Raw:
        self._ask("patch", body)
        return {**(self.found or {}), "metadata": {**(self.found or {})["metadata"], **body["metadata"]}}

    def _ask(self, what: str, about: Any) -> None:
        self.asked.append((what, about))
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.asked]


def child(kind: str = "Service", spec: Raw | None = None, **meta: Any) -> Raw:
    base = {"name": "qwen", "namespace": "n", "labels": {"app.kubernetes.io/managed-by": "slipway"}}
    whole = {**base, "ownerReferences": [OWNER], **meta}
    return {"apiVersion": "v1", "kind": kind, "metadata": whole, "spec": spec or {"ports": [{"port": 8080}]}}


def held(spec: Raw | None = None, **meta: Any) -> Raw:
    return child(spec=spec or {"ports": [{"port": 9090}]}, **{"uid": "child", "resourceVersion": "3", **meta})


def applier(api: Api, remembered: list[Raw] | None = None) -> Applier:
    return Applier(cast("Kube", api), (remembered if remembered is not None else []).append, "me")


async def test_what_is_not_there_is_only_ever_created() -> None:
    api = Api(None)
    assert await applier(api).apply_child(child(), None, "owner")
    assert api.asked[-1][1]["metadata"]["resourceVersion"] == ABSENT


async def test_what_came_after_the_look_is_not_taken_over() -> None:
    came = ConflictError(409, "Conflict", "the object has been modified")
    api = Api(None, came)
    with pytest.raises(ConflictError):
        await applier(api).apply_child(child(), None, "owner")
    api.found = held(ownerReferences=[])
    with pytest.raises(NameTakenError):
        await applier(api).apply_child(child(), None, "owner")
    assert api.verbs() == ["get", "apply", "get"]


async def test_what_is_ours_is_applied_to_by_its_uid() -> None:
    api = Api(None)
    await applier(api).apply_child(child(), held(), "owner")
    meta = api.asked[-1][1]["metadata"]
    assert (meta["uid"], "resourceVersion" in meta) == ("child", False)


def edited() -> Raw:
    """Our Service, of which a hand has the port."""
    ours = {**OURS, "fieldsV1": {"f:metadata": {"f:labels": {}}, "f:spec": {"f:type": {}}}}
    hands = {**HANDS, "fieldsV1": {"f:spec": {"f:ports": {}}}}
    return held(managedFields=[ours, hands])


async def test_what_cannot_be_merged_is_taken_over_first() -> None:
    remembered: list[Raw] = []
    api = Api(edited(), UNMERGED)
    assert await applier(api, remembered).apply_child(child(), held(resourceVersion="1"), "owner")
    assert api.verbs() == ["apply", "get", "replace", "apply"]
    fields = {"f:metadata": {"f:labels": {}}, "f:spec": {"f:type": {}, "f:ports": {}}}
    assert api.asked[2][1] == ("3", {"/metadata/managedFields": [{**OURS, "fieldsV1": fields}]})
    assert api.asked[3][1]["metadata"]["uid"] == "child"
    assert [raw["spec"] for raw in remembered] == [{"ports": [{"port": 8080}]}]


async def test_a_wish_that_is_refused_itself_is_not_tried_again() -> None:
    invalid = RejectedError(422, "Invalid", "spec.ports: Required value")
    api = Api(held(managedFields=[{**OURS, "fieldsV1": {"f:spec": {"f:ports": {}}}}]), invalid)
    with pytest.raises(RejectedError, match="Required value"):
        await applier(api).apply_child(child(), held(), "owner")
    assert api.verbs() == ["apply", "get"]


@pytest.mark.parametrize(
    ("found", "refusal", "expected", "verbs"),
    [
        (held(ownerReferences=[]), UNMERGED, NameTakenError, ["apply", "get"]),
        (None, UNMERGED, RejectedError, ["apply", "get"]),
        (held(), RejectedError(403, "Forbidden", "exceeded quota"), RejectedError, ["apply"]),
    ],
)
async def test_nothing_else_is_ever_taken_over(
    found: Raw | None, refusal: ApiError, expected: type[Exception], verbs: list[str]
) -> None:
    api = Api(found, refusal)
    with pytest.raises(expected):
        await applier(api).apply_child(child(), held(), "owner")
    assert api.verbs() == verbs


async def test_what_was_created_before_gets_its_labels_back() -> None:
    remembered: list[Raw] = []
    taken = ConflictError(409, "AlreadyExists", "taken")
    api = Api({**held(labels={"team": "a"}), "kind": "Job"}, taken)
    assert not await applier(api, remembered).create(child("Job"), "owner")
    labels = {"app.kubernetes.io/managed-by": "slipway"}
    assert api.asked[-1] == ("patch", {"metadata": {"uid": "child", "labels": labels}})
    assert remembered[-1]["metadata"]["labels"] == labels
    api = Api({**held(), "kind": "Job"}, taken)
    await applier(api).create(child("Job"), "owner")
    assert api.verbs() == ["create", "get"]


async def test_a_persons_artifact_is_not_labelled_as_ours() -> None:
    api = Api({**held(labels={}), "kind": "ModelArtifact"}, ConflictError(409, "AlreadyExists", "taken"))
    await applier(api).create(child("ModelArtifact"), "owner")
    assert api.verbs() == ["create", "get"]


def counted(kind: str, error: str) -> float:
    return REGISTRY.get_sample_value("slipway_write_errors_total", {"kind": kind, "error": error}) or 0.0


async def test_writes_that_a_pass_goes_on_without_are_counted() -> None:
    before = counted("Event", "RejectedError"), counted("Service", "RejectedError")
    forbidden = RejectedError(403, "Forbidden", "no")
    await applier(Api(None, forbidden)).post_event(held(), "Normal", "Settled", "all is well", "now")
    await applier(Api(None, forbidden)).relabel(held(labels={}), {"a": "b"})
    after = counted("Event", "RejectedError"), counted("Service", "RejectedError")
    assert after == (before[0] + 1, before[1] + 1)
