"""What the observer makes of late answers, and of a claim that the cache does not see."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from slipway import resources
from slipway.apply import Applier
from slipway.errors import NotFoundError, UnavailableError
from slipway.kube import Kube
from slipway.observe.observer import Observer
from slipway.observe.slots import Slots
from slipway.queue import Key
from slipway.reconcile import Reconciler
from slipway.resources import Resource
from slipway.settings import Settings

Raw = dict[str, Any]
KEY = Key("ModelArtifact", "n", "m-1")
MANAGED = {"app.kubernetes.io/managed-by": "slipway"}


def artifact(*, completed: tuple[str, ...] = (), version: int = 5) -> Raw:
    meta = {"name": "m-1", "namespace": "n", "uid": "art", "resourceVersion": str(version), "labels": MANAGED}
    base = {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelArtifact"}
    created = {"creationTimestamp": "2026-11-21T12:00:00Z"}
    return {**base, "metadata": {**meta, **created}, "spec": {}, "status": {"completed": list(completed)}}


def claim(owner: str = "art", labels: Raw | None = None) -> Raw:
    meta = {"name": "m-1", "namespace": "n", "uid": "pvc", "resourceVersion": "4", "labels": labels or {}}
    refs = [{"uid": owner, "kind": "ModelArtifact", "name": "m-1", "apiVersion": "slipway.dev/v1alpha1"}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {**meta, "ownerReferences": refs},
        "spec": {"volumeName": "pv"},
        "status": {"phase": "Bound"},
    }


class Api:
    """Answers a look at the claim; takes its labels."""

    def __init__(self, found: Raw | Exception) -> None:
        self.found = found
        self.looks = 0
        self.patched: list[Raw] = []

    async def get(self, _: Resource, __: str, ___: str) -> Raw:
        self.looks += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def merge_patch(self, _: Resource, __: str, ___: str, body: Raw) -> Raw:
        self.patched.append(body)
        assert isinstance(self.found, dict)
        meta = {**self.found["metadata"], **body["metadata"], "resourceVersion": "6"}
        return {**self.found, "metadata": meta}


def observer(api: Api, raw: Raw) -> Observer:
    found = Observer(cast("Kube", api), (), lambda _: None, time.monotonic)
    found.remember(raw)
    return found


def test_a_late_answer_brings_no_deleted_object_back() -> None:
    seen = observer(Api(NotFoundError(404, "NotFound", "")), artifact(version=5))
    seen.store(resources.ARTIFACT).drop(artifact(version=9))
    seen.remember(artifact(version=8))
    assert seen.own_keys() == []


async def test_a_claim_without_its_label_is_still_seen_while_it_holds_something() -> None:
    api = Api(claim())
    built = await observer(api, artifact(completed=("fetch",))).snapshot_artifact(KEY)
    assert built is not None
    assert built.claim is not None
    assert (built.claim["metadata"]["uid"], built.claim["kind"]) == ("pvc", "PersistentVolumeClaim")


@pytest.mark.parametrize("found", [NotFoundError(404, "NotFound", ""), claim(owner="another")])
async def test_a_claim_that_is_gone_or_anothers_is_none(found: Raw | Exception) -> None:
    built = await observer(Api(found), artifact(completed=("fetch",))).snapshot_artifact(KEY)
    assert built is not None
    assert built.claim is None


async def test_not_knowing_ends_the_pass() -> None:
    seen = observer(Api(UnavailableError(0, "Timeout", "no answer")), artifact(completed=("fetch",)))
    with pytest.raises(UnavailableError):
        await seen.snapshot_artifact(KEY)


async def test_nobody_looks_for_a_claim_that_holds_nothing_or_is_seen() -> None:
    api = Api(claim())
    await observer(api, artifact()).snapshot_artifact(KEY)
    seen = observer(api, artifact(completed=("fetch",)))
    seen.remember(claim(labels=MANAGED))
    await seen.snapshot_artifact(KEY)
    assert api.looks == 0


async def test_a_claim_gets_its_label_back() -> None:
    api = Api(claim())
    seen = observer(api, artifact(completed=("fetch",)))
    applier = Applier(cast("Kube", api), seen.remember, "me")
    now = datetime(2026, 11, 21, 13, tzinfo=UTC)
    # Nobody uses it, so that the pass itself would delete it: what it writes is not this test's.
    api.delete = _deleted  # type: ignore[attr-defined]
    api.create = _posted  # type: ignore[attr-defined]
    slots = Slots(
        0, seen.store(resources.JOB), seen.store(resources.ARTIFACT), print, lambda: 0.0, lambda: now
    )
    await Reconciler(seen, slots, applier, Settings(), lambda: now).reconcile(KEY)
    assert api.patched == [{"metadata": {"uid": "pvc", "labels": MANAGED}}]
    held = seen.store(resources.CLAIM).get("n", "m-1")
    assert held is not None
    assert held["metadata"]["labels"] == MANAGED


async def _deleted(*_: object) -> None:
    return None


async def _posted(_: Resource, body: Raw) -> Raw:
    return body
