"""Lease election: at most one replica works; started by ``serve``.

Safety rests on two clocks that never meet: a leader stops when it could not renew within ``RENEW_DEADLINE``
of its own
monotonic clock; another takes over only after it saw no renewal for ``LEASE_DURATION`` of its own, which is
longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from slipway import metrics
from slipway.errors import ApiError, ConflictError, NotFoundError, SlipwayError
from slipway.kube import Kube, Raw
from slipway.resources import LEASE
from slipway.status import micro_timestamp

LOG = logging.getLogger(__name__)
LEASE_NAME: Final = "slipway-operator"
LEASE_DURATION: Final = 3.0
"""Seconds without a renewal after which another may take over.

A standby sees the last renewal up to ``POLL`` late, and that the Lease has ended up to ``POLL`` late:
failover takes 3.6 s, which leaves more than a second of the promised 5 s for answers and the first pass.
"""
RENEW_DEADLINE: Final = 2.2
"""Seconds after its last renewal at which a leader gives up.

Until the Lease ends, time is left for a process that was held up, and for writes that are under way.
"""
RENEW_EVERY: Final = 0.6
REQUEST_SECONDS: Final = 1.0
"""Bound of one request: after one that hangs, another is tried before the deadline."""
POLL: Final = 0.3
"""Seconds between looks of a standby, and between tries of a leader whose renewal failed."""


class LostError(SlipwayError):
    """Leadership could not be renewed in time: the process must end, another replica may work already."""


@dataclass
class _Seen:
    """The last change of the Lease that a standby saw, and when."""

    version: str = ""
    at: float = 0.0


class Elector:
    """One candidate.

    Args:
        identity: unique name of this replica.
        clock: monotonic seconds.
        now: wall clock, for people who read the Lease; nothing is decided by it.

    Attributes:
        leading: set while this replica leads.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        identity: str,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self.leading = asyncio.Event()
        self._kube = kube
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._now = now
        self._lease: Raw | None = None
        self._seen = _Seen()
        self._renewed = 0.0
        self._turn = asyncio.Lock()
        self._released = False

    async def run(self) -> None:
        """Wait for leadership, then hold it until it is released.

        Raises:
            LostError: it was held and lost.
        """
        await self._stand_by()
        LOG.info("leading", extra={"identity": self._identity})
        metrics.LEADER.set(1)
        self.leading.set()
        try:
            await self._hold()
        finally:
            self.leading.clear()
            metrics.LEADER.set(0)

    async def release(self) -> None:
        """Give the Lease back, so that another takes over at once; best effort within a few requests' bound.

        Renewals end first: one under way would make the Lease another version than the one given back.
        """
        self._released = True
        async with self._turn:
            try:
                if self._lease is not None:
                    await self._give_back(self._lease)
                    LOG.info("leadership released")
            except (ApiError, LostError) as error:
                LOG.warning("leadership not released", extra={"error": str(error)})
            self._lease = None

    async def _give_back(self, lease: Raw) -> None:
        try:
            await self._put(lease, holder="")
        except ConflictError as error:  # the answer to our last renewal was lost
            self._renewed = self._clock()
            await self._still_ours(error)
            await self._put(self._lease or lease, holder="")

    async def _stand_by(self) -> None:
        while True:
            if await self._try_to_lead():
                return
            await asyncio.sleep(POLL)

    async def _try_to_lead(self) -> bool:
        started = self._clock()
        try:
            lease = await self._kube.request(
                "GET", LEASE.path(self._namespace, LEASE_NAME), seconds=REQUEST_SECONDS
            )
        except NotFoundError:
            return await self._write(None, started)
        except ApiError as error:
            LOG.warning("lease not read", extra={"error": str(error)})
            return False
        version, holder = lease["metadata"]["resourceVersion"], lease["spec"].get("holderIdentity", "")
        if version != self._seen.version:
            self._seen = _Seen(version, started)
        expired = started - self._seen.at > LEASE_DURATION
        return await self._write(lease, started) if expired or holder in ("", self._identity) else False

    async def _write(self, lease: Raw | None, started: float) -> bool:
        try:
            self._lease = await (self._create() if lease is None else self._put(lease, self._identity))
        except ConflictError:
            return False
        except ApiError as error:
            LOG.warning("lease not taken", extra={"error": str(error)})
            return False
        self._renewed = started
        return True

    async def _hold(self) -> None:
        while not self._released:
            await asyncio.sleep(max(0.0, self._renewed + RENEW_EVERY - self._clock()))
            while not await self._renew():
                if self._clock() + POLL > self._renewed + RENEW_DEADLINE:
                    raise LostError(f"the Lease could not be renewed for {RENEW_DEADLINE:g} s")
                await asyncio.sleep(POLL)

    async def _renew(self) -> bool:
        async with self._turn:
            return self._released or await self._renew_now()

    async def _renew_now(self) -> bool:
        started = self._clock()
        left = self._left()
        if left <= 0 or self._lease is None:
            return False
        try:
            async with asyncio.timeout(min(REQUEST_SECONDS, left)):
                self._lease = await self._put(self._lease, self._identity)
        except ConflictError as error:
            return await self._still_ours(error)
        except (ApiError, TimeoutError) as error:
            LOG.warning("lease not renewed", extra={"error": repr(error)})
            return False
        # Counted from before the request: the server may have stamped it at once and answered late.
        self._renewed = started
        return True

    async def _still_ours(self, conflict: ConflictError) -> bool:
        # A renewal whose answer was lost leaves a newer version behind: ours, if the holder is.
        left = self._left()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(min(REQUEST_SECONDS, left)):
                lease = await self._kube.request(
                    "GET", LEASE.path(self._namespace, LEASE_NAME), seconds=REQUEST_SECONDS
                )
        except (ApiError, TimeoutError):
            return False
        if lease["spec"].get("holderIdentity") != self._identity:
            raise LostError(f"the Lease is held by {lease['spec'].get('holderIdentity')!r}") from conflict
        self._lease = lease
        return False

    def _left(self) -> float:
        """Seconds until leadership ends without a renewal."""
        return self._renewed + RENEW_DEADLINE - self._clock()

    async def _create(self) -> Raw:
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": LEASE_NAME, "namespace": self._namespace},
            "spec": self._spec(self._identity, 0, moved=True),
        }
        return await self._kube.request(
            "POST", LEASE.path(self._namespace), body=body, seconds=REQUEST_SECONDS
        )

    async def _put(self, lease: Raw, holder: str) -> Raw:
        held = lease["spec"]
        moved = held.get("holderIdentity") != holder
        spec = {**held, **self._spec(holder, int(held.get("leaseTransitions", 0)), moved=moved)}
        body = {**lease, "spec": spec}
        return await self._kube.replace(LEASE, body, seconds=REQUEST_SECONDS)

    def _spec(self, holder: str, transitions: int, *, moved: bool) -> Raw:
        now = micro_timestamp(self._now())
        spec: Raw = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(LEASE_DURATION),
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        if moved and holder:
            spec |= {"acquireTime": now, "leaseTransitions": transitions + 1}
        return spec
