"""The few reads that no watch can serve: log tails and Secret versions, each at a capped rate.

Called by the observer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from slipway import resources
from slipway.errors import ApiError, NotFoundError
from slipway.kube import Kube
from slipway.manifests.artifacts import is_remote
from slipway.observe import trim
from slipway.observe.observed import Credential, Raw, User

K = TypeVar("K")
V = TypeVar("V")
TAIL_LINES: Final = 20
TAIL_BYTES: Final = 16_384
TAIL_SECONDS: Final = 5.0
"""A running Job's log is read at most this often."""
TAIL_WAIT_SECONDS: Final = 1.0
"""How long a pass waits for a log; progress that comes later is shown by the next pass."""
SECRET_SECONDS: Final = 10.0
"""A Secret's version is read at most this often, and only while something waits for it."""
STORE_KEYS: Final = ".dockerconfigjson, or username and password"
"""What opens a registry."""
KEPT: Final = 2048
"""Answers kept at most; the oldest go first."""


class Reads:
    """Cached reads.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, kube: Kube, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._clock = clock
        self._tails: dict[str, tuple[float, str]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._slow: dict[str, None] = {}
        self._secrets: dict[tuple[str, str], tuple[float, str]] = {}

    async def tail(self, pods: tuple[Raw, ...]) -> str:
        """End of the running pod's log; empty when none runs, or when the kubelet does not answer.

        An answer that takes longer than ``TAIL_WAIT_SECONDS`` is for a later pass; a pod that was slow once
        is read in the background alone, until it answers: a dead node holds no worker up.
        """
        running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        if not running:
            return ""
        meta = running[-1]["metadata"]
        uid = meta["uid"]
        held = self._tails.get(uid)
        due = held is None or self._clock() - held[0] >= TAIL_SECONDS
        if due and uid not in self._reading:
            task = asyncio.create_task(self._read_tail(meta["namespace"], meta["name"], uid))
            self._reading[uid] = task
            task.add_done_callback(lambda _: self._reading.pop(uid, None))
            if uid not in self._slow:
                done, _ = await asyncio.wait({task}, timeout=TAIL_WAIT_SECONDS)
                if not done:
                    _keep(self._slow, uid, None)
        held = self._tails.get(uid)
        return held[1] if held else ""

    async def _read_tail(self, namespace: str, pod: str, uid: str) -> None:
        held = self._tails.get(uid)
        try:
            text = await self._kube.log_tail(namespace, pod, TAIL_LINES, TAIL_BYTES)
            self._slow.pop(uid, None)
        except ApiError:
            text = held[1] if held else ""
        _keep(self._tails, uid, (self._clock(), text))

    async def credential(self, model: Raw) -> Credential | None:
        """The Secret that a ModelDeployment names, by metadata alone; None when it names none.

        Raises:
            ApiError: anything but "not found", which is an empty version.
        """
        name = _secret(model)
        return await self._credential(model, name) if name and not _settled(model) else None

    async def shared_credential(self, artifact: Raw, users: Sequence[User]) -> Credential | None:
        """The Secret for an artifact that is not ready: of a user that waits and whose Secret exists, if any.

        A settled user's counts, too: what it may read is not asked for without it.

        Raises:
            ApiError: anything but "not found", which is an empty version.
        """
        if _true(artifact, "Ready"):
            return None
        named = [(user.model, _secret(user.model)) for user in users]
        found = []
        for model, name in sorted(named, key=lambda one: _settled(one[0])):
            if name:
                whose = str(model["metadata"]["name"])
                found.append(replace(await self._credential(model, name), user=whose))
        there = next((one for one in found if one.version), None)
        # A missing Secret of one user must not keep another waiting that needs none.
        return there or (found[0] if found and len(found) == len(named) else None)

    async def store_credential(self, artifact: Raw) -> Credential | None:
        """The Secret of the registry or bucket that keeps an artifact which is not ready; None for none.

        Raises:
            ApiError: anything but "not found", which is an empty version.
        """
        named = ((artifact["spec"].get("store") or {}).get("secretRef") or {}).get("name")
        if not named or not is_remote(artifact) or _true(artifact, "Ready"):
            return None
        return replace(await self._credential(artifact, str(named)), keys=STORE_KEYS)

    async def claim(self, artifact: Raw) -> Raw | None:
        """The artifact's own claim, read by its name; None when there is none.

        Raises:
            ApiError: anything but "not found".
        """
        meta = artifact["metadata"]
        try:
            raw = await self._kube.get(resources.CLAIM, meta["namespace"], meta["name"])
        except NotFoundError:
            return None
        owners = raw["metadata"].get("ownerReferences", ())
        own = any(ref["uid"] == meta["uid"] for ref in owners)
        return {**trim.claim(raw), "apiVersion": raw["apiVersion"], "kind": raw["kind"]} if own else None

    async def _credential(self, beside: Raw, name: str) -> Credential:
        where = (beside["metadata"]["namespace"], name)
        held = self._secrets.get(where)
        if held and self._clock() - held[0] < SECRET_SECONDS:
            return Credential(name, held[1])
        try:
            answer = await self._kube.get_metadata(resources.SECRET, *where)
            version = str(answer["metadata"]["resourceVersion"])
        except NotFoundError:
            version = ""
        _keep(self._secrets, where, (self._clock(), version))
        return Credential(name, version)


def _secret(model: Raw) -> str:
    return str(((model["spec"].get("model") or {}).get("secretRef") or {}).get("name") or "")


def _true(raw: Raw, kind: str) -> bool:
    conditions = (raw.get("status") or {}).get("conditions", ())
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)


def _settled(model: Raw) -> bool:
    """Whether nothing of this generation needs the credential any more."""
    conditions = model.get("status", {}).get("conditions", ())
    generation = model["metadata"].get("generation")
    return any(
        one["type"] == "ArtifactReady"
        and one["status"] == "True"
        and one.get("observedGeneration") == generation
        for one in conditions
    )


def _keep(held: dict[K, V], key: K, value: V) -> None:
    held.pop(key, None)
    held[key] = value
    while len(held) > KEPT:
        del held[next(iter(held))]
