"""The cache of one kind: objects by name and by index; filled by a reflector, read by the snapshots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from slipway.observe.observed import Raw

Name = tuple[str, str]
"""Namespace (empty for cluster-wide kinds) and name."""
GONE_KEPT: Final = 4096
"""Objects remembered as gone, of each kind; the answers that they guard against are seconds late."""


class Store:
    """Objects of one kind.

    Args:
        index: the strings under which an object is found, for example ``owner:<uid>``.
    """

    def __init__(self, index: Callable[[Raw], Iterable[str]]) -> None:
        self._index = index
        self._objects: dict[Name, Raw] = {}
        self._by: dict[str, set[Name]] = {}
        self._gone: dict[str, float] = {}
        self.changes = 0
        """Grows with every change: what was read at one count is true while it stays."""

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Raw]:
        return iter(self._objects.values())

    def get(self, namespace: str, name: str) -> Raw | None:
        """The object, or None."""
        return self._objects.get((namespace, name))

    def find(self, entry: str) -> tuple[Raw, ...]:
        """All objects under one index entry, by name."""
        return tuple(self._objects[name] for name in sorted(self._by.get(entry, ())))

    def held(self, namespace: str | None) -> dict[Name, Raw]:
        """Objects held, of one namespace or of all: what a list is compared with."""
        return {name: raw for name, raw in self._objects.items() if namespace is None or name[0] == namespace}

    def put(self, new: Raw) -> tuple[bool, Raw | None]:
        """Take an object in, unless a newer version of its name is held, or it went after this version.

        Answers to our own writes reach the cache before their watch events do, or long after them: neither
        turns back what the other brought.

        Returns:
            Whether it was taken, and what was held before.
        """
        old = self._objects.get(name_of(new))
        version = _version(new, math.inf)
        if version < self._gone.get(_uid(new), 0) or (old is not None and version <= _version(old, 0)):
            return False, old
        self._take(old, new)
        return True, old

    def put_listed(self, new: Raw, before: Raw | None) -> tuple[bool, Raw | None]:
        """Take an item of a list in, whatever its version: after a restore of etcd, versions start lower.

        Args:
            new: the item.
            before: what was held when the list was asked for. What came since is judged by its version.

        Returns:
            Whether it was taken, and what was held before.
        """
        old = self._objects.get(name_of(new))
        if old is not before:
            return self.put(new)
        self._gone.pop(_uid(new), None)
        self._take(old, new)
        return True, old

    def drop(self, gone: Raw) -> Raw | None:
        """Forget what a DELETED event tells of, unless a newer one is held; returns what was forgotten."""
        self._bury(gone, _version(gone, 0))
        old = self._objects.get(name_of(gone))
        if old is None or _version(old, 0) > _version(gone, math.inf):
            return None
        self._remove(old)
        return old

    def drop_unlisted(self, before: Raw, version: str) -> bool:
        """Forget an object that a list of this version lacks, unless it changed since the list was asked for.

        Returns:
            Whether it was forgotten.
        """
        if self._objects.get(name_of(before)) is not before:
            return False
        self._bury(before, _number(version, 0))
        self._remove(before)
        return True

    def _take(self, old: Raw | None, new: Raw) -> None:
        if old is not None:
            self._remove(old)
        self.changes += 1
        name = name_of(new)
        self._objects[name] = new
        for entry in self._index(new):
            self._by.setdefault(entry, set()).add(name)

    def _remove(self, old: Raw) -> None:
        self.changes += 1
        name = name_of(old)
        del self._objects[name]
        for entry in self._index(old):
            names = self._by.get(entry)
            if names is not None:
                names.discard(name)
                if not names:
                    del self._by[entry]

    def _bury(self, gone: Raw, version: float) -> None:
        """Remember when an object went; one that only lost its label comes back with a newer version."""
        self._gone.pop(_uid(gone), None)
        self._gone[_uid(gone)] = version
        while len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]


def name_of(raw: Raw) -> Name:
    """The object's name in a store."""
    meta = raw["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _uid(raw: Raw) -> str:
    return str(raw["metadata"].get("uid", ""))


def _version(raw: Raw, unknown: float) -> float:
    return _number(str(raw["metadata"].get("resourceVersion", "")), unknown)


def _number(version: str, unknown: float) -> float:
    """The version, comparable among all objects of a kind (guaranteed since Kubernetes 1.35)."""
    return int(version) if version.isdecimal() else unknown
