"""Keeps the cache of one kind true: paginated list, watch, list again with a diff.

Started by the observer alone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from slipway import metrics
from slipway.errors import ApiError, GoneError, NotFoundError, RejectedError, UnavailableError
from slipway.kube import Kube
from slipway.observe.kinds import Watched
from slipway.observe.observed import Raw
from slipway.observe.store import Store, name_of
from slipway.queue import backoff

LOG = logging.getLogger(__name__)
PAGE: Final = "500"
"""Objects of one page: client-go's own, a balance of memory against requests."""
SILENCE_SECONDS: Final = 75.0
"""A watch that neither speaks nor ends for so long is dead."""
WATCH_SECONDS: Final = 50
"""Wished length of one watch, plus up to ten seconds: it ends normally before silence means anything.

An API server whose etcd notifies no progress sends no bookmarks while nothing happens.
"""
FAILURES_BEFORE_LIST: Final = 5
"""Watches that fail one after the other before the list is read again.

In case the version itself is the trouble.
"""
SHORT_SECONDS: Final = 1.0
"""A watch that ends sooner and without an event counts as failed: its server would be asked without end."""
ABSENT_SECONDS: Final = 30.0
"""How often a kind is asked for that the cluster does not know."""
BACKOFF_FIRST: Final = 0.2
BACKOFF_LIMIT: Final = 5.0

Notify = Callable[[Raw | None, Raw | None], None]
"""Called with the object before and after; None for absent."""


class Reflector:
    """One kind in one namespace (or in all) mirrored into a store.

    Attributes:
        synced: set once the first list is in.
        present: the cluster knows the kind.
    """

    def __init__(
        self,
        kube: Kube,
        watched: Watched,
        store: Store,
        notify: Notify,
        *,
        namespace: str | None = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.synced = asyncio.Event()
        self.present = False
        self._kube = kube
        self._watched = watched
        self._store = store
        self._notify = notify
        self._namespace = namespace
        self._silence = silence_seconds
        self._version = ""
        self._failures = 0

    @property
    def kind(self) -> str:
        """Kind that it mirrors."""
        return self._watched.resource.kind

    async def run(self) -> None:
        """List and watch for ever; only cancellation ends it."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except GoneError as error:
                self._version = ""
                await self._pause(error)
            except (NotFoundError, RejectedError) as error:
                self._version = ""
                # Refused: the installation's role is of a version that did not know the kind.
                if self._watched.optional:
                    await self._absent()
                else:
                    await self._pause(error)
            except ApiError as error:
                if self._failures >= FAILURES_BEFORE_LIST:
                    self._version = ""
                await self._pause(error)

    async def _pause(self, error: ApiError) -> None:
        self._failures += 1
        kind = self._watched.resource.kind
        metrics.WATCH_RESTARTS.labels(kind, error.reason or str(error.status)).inc()
        delay = backoff(self._failures, BACKOFF_FIRST, BACKOFF_LIMIT, random.random())  # noqa: S311 - jitter
        LOG.warning(
            "watch interrupted", extra={"kind": kind, "error": str(error), "retry_seconds": round(delay, 2)}
        )
        await asyncio.sleep(delay)

    async def _absent(self) -> None:
        """The cluster does not know the kind, and need not: nothing of it is there until somebody adds it."""
        for old in self._store.held(self._namespace).values():
            if self._store.drop(old):
                self._notify(old, None)
        self.present = False
        self.synced.set()
        await asyncio.sleep(ABSENT_SECONDS)

    async def _list(self) -> None:
        """Read everything page by page, then forget what was not in it.

        A DELETED event may have been missed.
        """
        params = {"limit": PAGE, **self._selector()}
        before = self._store.held(self._namespace)
        while True:
            page = await self._kube.list_page(self._watched.resource, self._namespace, params)
            for raw in page["items"] or ():
                item = self._trimmed(raw)
                self._tell(*self._store.put_listed(item, before.pop(name_of(raw), None)), item)
            params["continue"] = page["metadata"].get("continue", "")
            if not params["continue"]:
                break
            await asyncio.sleep(0)
        version = page["metadata"]["resourceVersion"]
        for old in before.values():
            if self._store.drop_unlisted(old, version):
                self._notify(old, None)
        self._version, self.present = version, True
        metrics.CACHED.labels(self._watched.resource.kind).set(len(self._store))
        self.synced.set()

    async def _watch(self) -> None:
        seconds = WATCH_SECONDS + random.randrange(10)  # noqa: S311 - watches must not all end at once
        params = {"resourceVersion": self._version, "timeoutSeconds": str(seconds), **self._selector()}
        started, spoke = time.monotonic(), False
        async for event in self._kube.watch(self._watched.resource, self._namespace, params, self._silence):
            self._on_event(event["type"], event["object"])
            self._failures, spoke = 0, spoke or event["type"] != "BOOKMARK"
        if not spoke and time.monotonic() - started < SHORT_SECONDS:
            raise UnavailableError(0, "Short", "the watch ended at once and said nothing")
        self._failures = 0

    def _on_event(self, kind: str, raw: Raw) -> None:
        if kind == "ERROR":
            raise _watch_error(raw)
        self._version = raw["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            if old := self._store.drop(raw):
                self._notify(old, None)
        else:
            item = self._trimmed(raw)
            self._tell(*self._store.put(item), item)
        metrics.CACHED.labels(self._watched.resource.kind).set(len(self._store))

    def _trimmed(self, raw: Raw) -> Raw:
        trimmed = self._watched.trim(raw)
        # Items of a list carry neither; what is applied or compared later needs both.
        trimmed["apiVersion"] = self._watched.resource.api_version
        trimmed["kind"] = self._watched.resource.kind
        return trimmed

    def _tell(self, taken: bool, old: Raw | None, new: Raw) -> None:
        if taken and not same(old, new):
            self._notify(old, new)

    def _selector(self) -> dict[str, str]:
        return {"labelSelector": self._watched.selector} if self._watched.selector else {}


def same(old: Raw | None, new: Raw) -> bool:
    """Whether nothing but the resourceVersion differs."""
    if old is None:
        return False
    bare = [{**raw, "metadata": {**raw["metadata"], "resourceVersion": ""}} for raw in (old, new)]
    return bare[0] == bare[1]


def _watch_error(status: Raw) -> ApiError:
    code, reason = int(status.get("code", 0)), str(status.get("reason", "Unknown"))
    kind = GoneError if code == 410 or reason in ("Expired", "Gone") else UnavailableError  # noqa: PLR2004 - HTTP
    return kind(code, reason, str(status.get("message", "the watch ended with an error")))
