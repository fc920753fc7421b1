"""The reflector against an API that answers by script: lists, watches, what is missed in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from slipway import resources
from slipway.errors import ApiError, GoneError, UnavailableError
from slipway.kube import Kube
from slipway.observe import reflector as module
from slipway.observe.kinds import Watched, owners
from slipway.observe.reflector import Reflector
from slipway.observe.store import Store
from slipway.observe.trim import whole
from slipway.resources import Resource

WATCHED = Watched(resources.SERVICE, "a=b", whole, owners)
Raw = dict[str, Any]


def service(name: str, version: int, **meta: Any) -> Raw:
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(version), **meta}
    }


def event(kind: str, raw: Raw) -> Raw:
    return {"type": kind, "object": raw}


class Script:
    """Answers of list and watch, one after the other; the last watch hangs."""

    def __init__(self, lists: list[list[Raw]], watches: list[list[Raw | ApiError]]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[Mapping[str, str]] = []
        self.used_up = asyncio.Event()

    async def list_page(self, _: Resource, __: str | None, params: Mapping[str, str]) -> Raw:
        self.asked.append(dict(params))
        page = self.lists.pop(0)
        more = "more" if page and page[-1].get("more") else ""
        return {"metadata": {"resourceVersion": "100", "continue": more}, "items": page}

    async def watch(
        self, _: Resource, __: str | None, params: Mapping[str, str], ___: float
    ) -> AsyncIterator[Raw]:
        self.asked.append(dict(params))
        for one in self.watches.pop(0) if self.watches else [None]:
            if one is None:
                self.used_up.set()
                await asyncio.Event().wait()
            elif isinstance(one, ApiError):
                raise one
            else:
                yield one


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_FIRST", 0.0)


async def run(script: Script) -> tuple[Store, list[tuple[str | None, str | None]]]:
    """Run until the script is used up; returns the cache and what was told (version before, after)."""
    store, told = Store(owners), []

    def notify(old: Raw | None, new: Raw | None) -> None:
        versions = [raw["metadata"]["resourceVersion"] if raw else None for raw in (old, new)]
        told.append((versions[0], versions[1]))

    task = asyncio.create_task(Reflector(cast("Kube", script), WATCHED, store, notify).run())
    async with asyncio.timeout(5):
        await script.used_up.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return store, told


async def test_pages_are_followed_and_the_selector_is_asked_for() -> None:
    script = Script([[service("a", 1), {**service("b", 2), "more": True}], [service("c", 3)]], [])
    store, told = await run(script)
    assert set(store.held("n")) == {("n", "a"), ("n", "b"), ("n", "c")}
    assert told == [(None, "1"), (None, "2"), (None, "3")]
    assert {one["labelSelector"] for one in script.asked} == {"a=b"}
    assert script.asked[1]["continue"] == "more"
    assert script.asked[2]["resourceVersion"] == "100"


async def test_what_vanished_while_nobody_watched_is_told() -> None:
    gone = GoneError(410, "Expired", "too old")
    script = Script([[service("a", 1), service("b", 2)], [service("a", 1)]], [[gone]])
    store, told = await run(script)
    assert set(store.held("n")) == {("n", "a")}
    assert told[-1] == ("2", None)
    assert told.count((None, "1")) == 1


async def test_an_error_event_of_410_lists_again_and_others_go_on_from_the_version() -> None:
    gone = event("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})
    broken = event("ERROR", {"code": 500, "reason": "InternalError", "message": "etcd"})
    script = Script([[], [service("late", 9)]], [[event("ADDED", service("a", 101)), broken], [gone]])
    store, _ = await run(script)
    assert script.asked[2]["resourceVersion"] == "101"
    assert set(store.held("n")) == {("n", "late")}


async def test_a_cut_watch_resumes_from_the_last_bookmark() -> None:
    bookmark = event("BOOKMARK", service("", 555))
    cut = UnavailableError(0, "Connection", "cut")
    script = Script([[]], [[bookmark, cut], []])
    await run(script)
    assert script.asked[2]["resourceVersion"] == "555"
    assert len([one for one in script.asked if "limit" in one]) == 1


async def test_many_failed_watches_in_a_row_list_again() -> None:
    cut = UnavailableError(0, "Connection", "cut")
    script = Script([[], [service("a", 1)]], [[cut]] * (module.FAILURES_BEFORE_LIST + 1))
    store, _ = await run(script)
    assert set(store.held("n")) == {("n", "a")}


async def test_modified_and_deleted_are_told_once_and_mere_versions_are_not() -> None:
    script = Script(
        [[service("a", 1)]],
        [
            [
                event("MODIFIED", service("a", 2)),
                event("MODIFIED", service("a", 3, labels={"x": "1"})),
                event("DELETED", service("a", 4)),
                event("DELETED", service("a", 5)),
            ]
        ],
    )
    store, told = await run(script)
    assert told == [(None, "1"), ("2", "3"), ("3", None)]
    assert len(store) == 0


async def test_a_list_with_older_versions_is_believed() -> None:
    # As after a restore of etcd from a snapshot: what came since the snapshot never was.
    gone = GoneError(410, "Expired", "too old")
    script = Script([[service("a", 900), service("b", 901)], [service("a", 400)]], [[gone]])
    store, told = await run(script)
    assert told[2:] == [("901", None)]  # of "a", nothing but the version differs
    assert (store.get("n", "a") or {})["metadata"]["resourceVersion"] == "400"
