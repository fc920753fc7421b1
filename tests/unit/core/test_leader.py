"""The end of leadership: given back without a race, and never believed longer than the deadline."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from slipway.errors import ConflictError, NotFoundError, UnavailableError
from slipway.kube import Kube
from slipway.leader import RENEW_DEADLINE, RENEW_EVERY, REQUEST_SECONDS, Elector, LostError
from tests.support import virtual_time
from tests.support.virtual_time import now

Raw = dict[str, Any]


class Api:
    """One Lease, with optimistic locking; a write counts at once, its answer takes ``seconds``.

    Answers are copies, as over a wire.
    """

    def __init__(self) -> None:
        self.lease: Raw | None = None
        self.seconds = 0.0
        self.lose_answers = False
        self.written = asyncio.Event()

    def _take(self, body: Raw, version: int) -> Raw:
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}}
        self.written.set()
        return copy.deepcopy(self.lease)

    async def request(self, method: str, _: str, *, body: Raw | None = None, **_kw: float) -> Raw:
        await asyncio.sleep(self.seconds)
        if method == "POST" and body is not None:
            return self._take(body, 1)
        if self.lease is None:
            raise NotFoundError(404, "NotFound", "no lease")
        return copy.deepcopy(self.lease)

    async def replace(self, _: object, body: Raw, **_kw: float) -> Raw:
        held = self.lease or body
        if body["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]:
            await asyncio.sleep(self.seconds)
            raise ConflictError(409, "Conflict", "another version")
        taken = self._take(body, int(body["metadata"]["resourceVersion"]) + 1)
        await asyncio.sleep(self.seconds)
        if self.lose_answers:
            raise UnavailableError(0, "Connection", "cut")
        return taken

    @property
    def holder(self) -> str:
        """Who holds the Lease."""
        return str((self.lease or {})["spec"]["holderIdentity"])

    def change(self, **spec: str) -> None:
        """Somebody else writes the Lease."""
        held = self.lease or {}
        version = str(int(held["metadata"]["resourceVersion"]) + 90)
        meta = {**held["metadata"], "resourceVersion": version}
        self.lease = {**held, "metadata": meta, "spec": {**held["spec"], **spec}}


@asynccontextmanager
async def leading(api: Api) -> AsyncIterator[tuple[Elector, asyncio.Task[None]]]:
    """A candidate that has just begun to lead."""
    me = Elector(cast("Kube", api), "n", "me", now, lambda: datetime.now(UTC))
    task = asyncio.create_task(me.run())
    await me.leading.wait()
    try:
        yield me, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_release_waits_for_a_renewal_under_way_and_ends_them() -> None:
    async def scenario() -> None:
        api = Api()
        async with leading(api) as (me, task):
            api.seconds = 0.5
            api.written.clear()
            await api.written.wait()  # a renewal has reached the server, its answer is on the way
            asked = now()
            await me.release()
            assert now() - asked == pytest.approx(2 * api.seconds)  # the renewal's answer, then its own
            assert api.holder == ""
            await task
            assert not me.leading.is_set()
            assert api.holder == ""

    virtual_time.run(scenario())


def test_release_takes_a_lost_answer_into_account() -> None:
    async def scenario() -> None:
        api = Api()
        async with leading(api) as (me, task):
            api.lose_answers = True
            api.written.clear()
            await api.written.wait()
            await asyncio.sleep(0)  # the renewal fails: the server is a version ahead of what we know
            lease = api.lease or {}
            assert (me._lease or {})["metadata"]["resourceVersion"] < lease["metadata"]["resourceVersion"]
            api.lose_answers = False
            await me.release()
            assert api.holder == ""
            await task

    virtual_time.run(scenario())


def test_a_leader_holds_on_through_lost_answers() -> None:
    async def scenario() -> None:
        api = Api()
        async with leading(api) as (me, task):
            for _ in range(20):
                api.lose_answers = not api.lose_answers
                await asyncio.sleep(RENEW_EVERY)
            assert not task.done()
            assert me.leading.is_set()
            assert api.holder == "me"

    virtual_time.run(scenario())


def test_a_leader_whom_nobody_answers_ends_with_the_deadline() -> None:
    async def scenario() -> None:
        api = Api()
        async with leading(api) as (me, task):
            api.seconds = 3600.0
            renewed = me._renewed
            with pytest.raises(LostError, match="could not be renewed"):
                await task
            assert now() - renewed <= RENEW_DEADLINE
            assert not me.leading.is_set()

    virtual_time.run(scenario())


def test_a_slow_look_after_a_conflict_ends_with_the_deadline() -> None:
    async def scenario() -> None:
        api = Api()
        async with leading(api) as (me, task):
            api.change()
            api.seconds = REQUEST_SECONDS * 0.9
            renewed = me._renewed
            with pytest.raises(LostError):
                await task
            assert now() - renewed <= RENEW_DEADLINE

    virtual_time.run(scenario())


def test_a_leader_that_was_replaced_ends_at_its_next_renewal() -> None:
    async def scenario() -> None:
        api = Api()
        async with leading(api) as (_, task):
            api.change(holderIdentity="another")
            began = now()
            with pytest.raises(LostError, match="another"):
                await task
            assert now() - began <= RENEW_EVERY
            assert api.holder == "another"

    virtual_time.run(scenario())
