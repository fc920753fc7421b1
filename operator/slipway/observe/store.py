"""The cache of one kind: objects by name and by index; filled by a reflector, read by the snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from slipway.observe.observed import Raw

Name = tuple[str, str]
"""Namespace (empty for cluster-wide kinds) and name."""


class Store:
    """Objects of one kind.

    Args:
        index: the strings under which an object is found, for example ``owner:<uid>``.
    """

    def __init__(self, index: Callable[[Raw], Iterable[str]]) -> None:
        self._index = index
        self._objects: dict[Name, Raw] = {}
        self._by: dict[str, set[Name]] = {}

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

    def names(self, namespace: str | None) -> set[Name]:
        """Names held, of one namespace or of all."""
        return {name for name in self._objects if namespace is None or name[0] == namespace}

    def put(self, new: Raw) -> tuple[bool, Raw | None]:
        """Take an object in, unless a newer version of it is held.

        Returns:
            Whether it was taken, and what was held before.
        """
        name = name_of(new)
        old = self._objects.get(name)
        if old is not None and not _newer(old, new):
            return False, old
        if old is not None:
            self._unindex(name, old)
        self._objects[name] = new
        for entry in self._index(new):
            self._by.setdefault(entry, set()).add(name)
        return True, old

    def drop(self, name: Name) -> Raw | None:
        """Forget an object; returns what was held."""
        old = self._objects.pop(name, None)
        if old is not None:
            self._unindex(name, old)
        return old

    def _unindex(self, name: Name, old: Raw) -> None:
        for entry in self._index(old):
            names = self._by.get(entry)
            if names is not None:
                names.discard(name)
                if not names:
                    del self._by[entry]


def name_of(raw: Raw) -> Name:
    """The object's name in a store."""
    meta = raw["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _newer(old: Raw, new: Raw) -> bool:
    # Resource versions of one kind are comparable integers (guaranteed since Kubernetes 1.35). Our own
    # writes'
    # answers reach the cache before their watch events do; those must not turn it back.
    before, after = old["metadata"], new["metadata"]
    if before.get("uid") != after.get("uid"):
        return True
    try:
        return int(after["resourceVersion"]) > int(before["resourceVersion"])
    except (KeyError, ValueError):
        return True
