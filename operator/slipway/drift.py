"""Whether an observed object already is what is wished.

Pure comparison, tolerant of what the API server fills in.

Called by ``apply`` (skip the write) and by passes (is the rollout of this very object under way).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from slipway.plan.quantities import quantity

APPLIED: Final = "slipway.dev/applied-hash"
"""Annotation with the hash of what was applied last.

Without it, a field that is no longer wished would never go.
"""
_MERGE_KEYS: Final = ("name", "mountPath", "containerPort", "port", "uid", "type", "topologyKey")
"""Keys by which list items of the kinds that we write are identified, most telling first."""
_WHOLE: Final = frozenset({"selector", "labelSelector", "podSelector", "matchLabels", "nodeSelector"})
"""Maps that mean another thing with one key more: atomic to the API server, one apply brings them back."""
EXACT: Final = frozenset({"NetworkPolicy", "ModelDeployment"})
"""Kinds where more than is wished is as wrong as less: every part of a NetworkPolicy opens or closes
something, and a field by hand in the ModelDeployment of a pool makes it another model."""
_LEFT_OUT: Final = frozenset({"paused"})
"""Booleans that the API server leaves out when they are false."""
_QUANTITIES: Final = frozenset({"limits", "requests", "hard", "sizeLimit"})


def stamped(desired: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its own hash as an annotation."""
    digest = hashlib.sha256(orjson.dumps(desired, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    meta = desired["metadata"]
    return {**desired, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), APPLIED: digest}}}


def settled(desired: Mapping[str, Any], observed: Mapping[str, Any] | None) -> bool:
    """Whether applying ``desired`` (stamped) would change nothing."""
    if observed is None or not covers(desired, observed):
        return False
    return desired.get("kind") not in EXACT or _plain(desired["spec"]) == _plain(observed["spec"])


def covers(desired: Any, observed: Any, field: str = "") -> bool:
    """Whether every field of ``desired`` has its value in ``observed``, which may hold more.

    Args:
        desired: what is wished, or a part of it.
        observed: the same part of what is there.
        field: name of the field that holds both, for quantities: ``1000m`` is ``1``.
    """
    if field in _WHOLE:
        return bool(_plain(desired) == _plain(observed))
    if isinstance(desired, Mapping):
        if not isinstance(observed, Mapping):
            return not desired and observed is None
        inside = field if field in _QUANTITIES else ""
        return all(_covers_field(value, observed, key, inside) for key, value in desired.items())
    if isinstance(desired, list | tuple):
        return _covers_list(desired, observed)
    if desired == observed:
        return True
    return field in _QUANTITIES and _same_quantity(desired, observed)


def _covers_field(value: Any, observed: Mapping[str, Any], key: str, inside: str) -> bool:
    if key not in observed:
        return value in (None, {}, [], "", 0) and (not isinstance(value, bool) or key in _LEFT_OUT)
    return covers(value, observed[key], inside or key)


def _covers_list(desired: list[Any] | tuple[Any, ...], observed: Any) -> bool:
    if not isinstance(observed, list):
        return not desired and observed is None
    if key := _merge_key(desired):
        by_key: dict[Any, list[Any]] = {}
        for item in observed:
            by_key.setdefault(item.get(key) if isinstance(item, dict) else None, []).append(item)
        return all(any(covers(item, seen) for seen in by_key.get(item[key], ())) for item in desired)
    # Atomic lists (arguments, tolerations): order and length count.
    return len(desired) == len(observed) and all(map(covers, desired, observed))


def _merge_key(items: list[Any] | tuple[Any, ...]) -> str:
    if not items or not all(isinstance(item, Mapping) for item in items):
        return ""
    return next((key for key in _MERGE_KEYS if all(key in item for item in items)), "")


def _plain(value: Any) -> Any:
    """The value without what the API server drops or fills in: empty lists and label maps, protocol TCP."""
    if isinstance(value, Mapping):
        kept = {key: _plain(inner) for key, inner in value.items() if inner not in (None, [])}
        return {
            key: inner
            for key, inner in kept.items()
            if (key, inner) not in (("matchLabels", {}), ("protocol", "TCP"))
        }
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _same_quantity(desired: Any, observed: Any) -> bool:
    try:
        return quantity(str(desired)) == quantity(str(observed))
    except ValueError:
        return False
