"""The end of leadership: given back without a race, and never believed longer than the deadline."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from slipway import leader
from slipway.errors import ConflictError, NotFoundError
from slipway.kube import Kube
from slipway.leader import Elector, LostError

Raw = dict[str, Any]


class Api:
    """One Lease, with optimistic locking; answers take ``seconds``."""

    def __init__(self) -> None:
        self.lease: Raw | None = None
        self.seconds = 0.0
        self.lose_answers = False

    def _take(self, body: Raw, version: int) -> Raw:
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}}
        return self.lease

    async def request(self, method: str, _: str, *, body: Raw | None = None, **_kw: float) -> Raw:
        await asyncio.sleep(self.seconds)
        if method == "POST" and body is not None:
            return self._take(body, 1)
        if self.lease is None:
            raise NotFoundError(404, "NotFound", "no lease")
        return self.lease

    async def replace(self, _: object, body: Raw, **_kw: float) -> Raw:
        held = self.lease or body
        if body["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]:
            await asyncio.sleep(self.seconds)
            raise ConflictError(409, "Conflict", "another version")
        taken = self._take(body, int(body["metadata"]["resourceVersion"]) + 1)
        await asyncio.sleep(self.seconds)
        if self.lose_answers:
            raise TimeoutError
        return taken


def elector(api: Api) -> Elector:
    return Elector(cast("Kube", api), "n", "me", time.monotonic, lambda: datetime.now(UTC))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (
        ("RENEW_EVERY", 0.02),
        ("RENEW_DEADLINE", 0.3),
        ("REQUEST_SECONDS", 0.25),
        ("POLL", 0.02),
    ):
        monkeypatch.setattr(leader, name, seconds)


async def test_release_waits_for_a_renewal_under_way_and_ends_them() -> None:
    api = Api()
    me = elector(api)
    task = asyncio.create_task(me.run())
    await asyncio.wait_for(me.leading.wait(), 5)
    api.seconds = 0.05
    await asyncio.sleep(0.06)  # a renewal has reached the server, its answer is on the way
    await me.release()
    assert api.lease is not None
    assert api.lease["spec"]["holderIdentity"] == ""
    await asyncio.wait_for(task, 5)
    assert not me.leading.is_set()
    assert api.lease["spec"]["holderIdentity"] == ""


async def test_release_takes_a_lost_answer_into_account() -> None:
    api = Api()
    me = elector(api)
    task = asyncio.create_task(me.run())
    await asyncio.wait_for(me.leading.wait(), 5)
    api.lose_answers = True
    while api.lease is not me._lease and me._lease is not None:
        await asyncio.sleep(0)
        if (
            api.lease is not None
            and api.lease["metadata"]["resourceVersion"] != me._lease["metadata"]["resourceVersion"]
        ):
            break
    api.lose_answers = False
    await me.release()
    assert api.lease is not None
    assert api.lease["spec"]["holderIdentity"] == ""
    await asyncio.wait_for(task, 5)


async def test_a_slow_look_after_a_conflict_ends_with_the_deadline() -> None:
    api = Api()
    me = elector(api)
    task = asyncio.create_task(me.run())
    await asyncio.wait_for(me.leading.wait(), 5)
    assert api.lease is not None
    api.lease = {**api.lease, "metadata": {**api.lease["metadata"], "resourceVersion": "99"}}
    api.seconds = 0.2
    renewed = me._renewed
    with pytest.raises(LostError):
        await asyncio.wait_for(task, 5)
    assert time.monotonic() - renewed < leader.RENEW_DEADLINE + 0.1
