"""Reads that no watch serves: bounded in time, and one Secret for an artifact of many users."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from slipway.errors import NotFoundError
from slipway.kube import Kube
from slipway.observe import reads
from slipway.observe.observed import User
from slipway.observe.reads import Reads

Raw = dict[str, Any]


class StubKube:
    """Answers of the API server."""

    def __init__(self) -> None:
        self.hangs = asyncio.Event()
        self.secrets: dict[str, str] = {}

    async def log_tail(self, *_: object) -> str:
        await self.hangs.wait()
        return "the end"

    async def get_metadata(self, _: object, __: str, name: str) -> Raw:
        if name not in self.secrets:
            raise NotFoundError(404, "NotFound", name)
        return {"metadata": {"resourceVersion": self.secrets[name]}}


def a_pod() -> tuple[Raw, ...]:
    return ({"metadata": {"uid": "u", "namespace": "n", "name": "p"}, "status": {"phase": "Running"}},)


async def test_a_dead_node_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "TAIL_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(reads, "TAIL_SECONDS", 0.0)
    kube = StubKube()
    found = Reads(cast("Kube", kube), time.monotonic)
    assert await found.tail(a_pod()) == ""
    monkeypatch.setattr(reads, "TAIL_WAIT_SECONDS", 5.0)
    async with asyncio.timeout(1):  # slow once: read in the background from now on
        assert await found.tail(a_pod()) == ""
    kube.hangs.set()
    for _ in range(10):  # the reading task's turns
        await asyncio.sleep(0)
    assert await found.tail(a_pod()) == "the end"


def a_user(name: str, secret: str, *, settled: bool = False) -> User:
    conditions = [{"type": "ArtifactReady", "status": str(settled), "observedGeneration": 1}]
    spec = {"model": {"secretRef": {"name": secret}} if secret else {}}
    meta = {"name": name, "namespace": "n", "generation": 1}
    model = {"metadata": meta, "spec": spec, "status": {"conditions": conditions}}
    return User(model, None, planned=True)


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        ([a_user("a", "missing"), a_user("b", "there")], ("there", "1", "b")),
        ([a_user("a", "settled", settled=True), a_user("b", "there")], ("there", "1", "b")),
        ([a_user("a", "settled", settled=True), a_user("b", "")], ("settled", "2", "a")),
        ([a_user("a", "missing")], ("missing", "", "a")),
        ([a_user("a", "missing"), a_user("b", "")], None),
    ],
)
async def test_whose_secret_fetches_what_many_use(
    users: list[User], expected: tuple[str, str, str] | None
) -> None:
    kube = StubKube()
    kube.secrets = {"there": "1", "settled": "2"}
    found = await Reads(cast("Kube", kube), time.monotonic).shared_credential({}, users)
    assert (found and (found.name, found.version, found.user)) == expected


@pytest.mark.parametrize(
    ("store", "ready", "version"),
    [
        ({"type": "oci", "secretRef": {"name": "push"}}, False, "7"),
        ({"type": "oci", "secretRef": {"name": "missing"}}, False, ""),
        ({"type": "oci", "secretRef": {"name": "push"}}, True, None),
        ({"secretRef": {"name": "push"}}, False, None),
        ({"type": "oci"}, False, None),
    ],
)
async def test_what_opens_the_store_of_an_artifact(store: Raw, version: str | None, *, ready: bool) -> None:
    kube = StubKube()
    kube.secrets = {"push": "7"}
    conditions = [{"type": "Ready", "status": str(ready)}]
    raw = {"metadata": {"namespace": "n"}, "spec": {"store": store}, "status": {"conditions": conditions}}
    found = await Reads(cast("Kube", kube), time.monotonic).store_credential(raw)
    assert (found.version if found else None) == version
