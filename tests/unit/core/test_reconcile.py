"""What is written, what is not when a NetworkPolicy is refused, and what the log says of it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from slipway.apply import Applier
from slipway.errors import RejectedError
from slipway.kube import Kube
from slipway.observe.observer import Observer
from slipway.observe.slots import Slots
from slipway.passes.outcome import Outcome
from slipway.reconcile import Reconciler
from slipway.resources import Resource
from slipway.settings import Settings

Raw = dict[str, Any]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Api:
    """Takes every write but those of refused kinds."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.written: list[str] = []

    async def get(self, *_: object) -> Raw | None:
        return None

    async def apply(self, resource: Resource, body: Raw, *_: object) -> Raw:
        if resource.kind in self.refused:
            raise RejectedError(403, "Forbidden", "exceeded quota")
        self.written.append(resource.kind)
        return body

    async def create(self, resource: Resource, body: Raw) -> Raw:
        return await self.apply(resource, body)


def raw(kind: str) -> Raw:
    meta = {"name": "qwen", "namespace": "n", "uid": "u", "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": {}}


async def write(api: Api) -> None:
    applier = Applier(cast("Kube", api), lambda _: None, "me")
    reconciler = Reconciler(cast("Observer", None), cast("Slots", None), applier, Settings(), lambda: NOW)
    conditions = [{"type": "Ready", "status": "False", "reason": "Building", "message": "x"}]
    kinds = ("NetworkPolicy", "Deployment", "Service")
    outcome = Outcome(
        status={"conditions": conditions}, apply=tuple(raw(kind) for kind in kinds), create=(raw("Job"),)
    )
    await reconciler._write(raw("ModelDeployment"), (), outcome)


async def test_all_is_written() -> None:
    api = Api()
    await write(api)
    assert api.written == ["NetworkPolicy", "Deployment", "Service", "Job", "ModelDeployment"]


async def test_no_pods_without_their_network_policy() -> None:
    api = Api("NetworkPolicy")
    await write(api)
    assert api.written == ["Service", "ModelDeployment", "Event"]


async def test_the_log_tells_writes_and_conditions(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="slipway"):
        await write(Api())
    told = [(record.getMessage(), vars(record)) for record in caplog.records]
    assert ("applied", "Service/n/qwen") in [(text, fields.get("child")) for text, fields in told]
    assert ("created", "Job/n/qwen") in [(text, fields.get("child")) for text, fields in told]
    conditions = [fields for text, fields in told if text == "condition"]
    assert [(one["key"], one["condition"], one["state"], one["reason"]) for one in conditions] == [
        ("ModelDeployment/n/qwen", "Ready", "False", "Building")
    ]
