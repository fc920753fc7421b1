"""Stand-ins for what an engine imports but its parser does not use: torch, kernels, drivers.

Imported by hack/engines/dump.py inside the process that dumps a parser, and nowhere else. A stand-in is a
class that is also callable, subscriptable and iterable: annotations, decorators and base classes of it work.
Standard library only: it runs in the engine's own environment.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from abc import ABCMeta
from collections.abc import Iterator, Sequence
from importlib.abc import Loader
from typing import Any

ABSENT = object()
"""Value of an attribute that a stand-in shall not have."""


class _Meta(ABCMeta):
    """A class of which every attribute is another such class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = stand_in(name)
        setattr(cls, name, made)
        return made

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        # Used as a decorator: what it decorates stays what it was.
        if len(args) == 1 and not kwargs and isinstance(args[0], (types.FunctionType, type)):
            return args[0]
        return super().__call__()

    def __getitem__(cls, _key: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    def __ror__(cls, other: Any) -> Any:
        return other

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __lt__(cls, other: Any) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __bool__(cls) -> bool:
        return False

    def __int__(cls) -> int:
        return 0

    __index__ = __len__ = __int__

    def _same(cls, *_other: Any) -> Any:
        return cls

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _same
    __truediv__ = __neg__ = __pow__ = __and__ = _same


class _Value(metaclass=_Meta):
    """What calling a stand-in returns: everything that is asked of it is a stand-in."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return stand_in(name)

    def __call__(self, *args: Any, **_kwargs: Any) -> Any:
        return args[0] if args and isinstance(args[0], (types.FunctionType, type)) else self

    def __getitem__(self, _key: Any) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def __bool__(self) -> bool:
        return False

    def __int__(self) -> int:
        return 0

    __index__ = __len__ = __int__

    def _same(self, *_other: Any) -> Any:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _same
    __truediv__ = __neg__ = __pow__ = __and__ = _same


def stand_in(name: str) -> Any:
    """Return a new stand-in class of this name."""
    return _Meta(name, (_Value,), {})


class _Module(types.ModuleType):
    """A module of which every attribute is a stand-in."""

    __version__ = "99.0.0"
    __file__ = "stand-in"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in self.__dict__["absent"]:
            raise AttributeError(name)
        made = stand_in(name)
        setattr(self, name, made)
        return made


class _Finder(Loader):
    """Finds a stand-in for each module below the given roots."""

    def __init__(self, roots: Sequence[str], values: dict[str, Any]) -> None:
        self.roots = frozenset(roots)
        self.values = values

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        if not any(name == root or name.startswith(f"{root}.") for root in self.roots):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Module(spec.name)
        named = {dotted.rpartition("."): value for dotted, value in self.values.items()}
        own = {attribute: value for (owner, _, attribute), value in named.items() if owner == spec.name}
        module.__dict__["absent"] = {attribute for attribute, value in own.items() if value is ABSENT}
        module.__dict__.update({attribute: value for attribute, value in own.items() if value is not ABSENT})
        return module

    def exec_module(self, _module: types.ModuleType) -> None:
        pass


def install(*roots: str, values: dict[str, Any] | None = None) -> None:
    """Let the imports of these modules, and of all below them, succeed.

    Args:
        roots: names of modules.
        values: dotted name of an attribute to the value that it must have, for instance of a version.
    """
    sys.meta_path.insert(0, _Finder(roots, values or {}))
